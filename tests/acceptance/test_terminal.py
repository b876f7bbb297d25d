"""What a person at a terminal sees: the question, the live display, Ctrl-C twice."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from orchestrator.sandbox import FaultRule, Faults, Sandbox
from tests.acceptance.conftest import MUG, Cli


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, cli: Cli, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._screen, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            env=cli.environment({"TERM": "xterm", "COLUMNS": "100", **(env or {})}),
            cwd=cli.folder,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def read_until(self, seen: Callable[[str], bool], timeout_seconds: float = 30) -> str:
        """All output up to the first moment that `seen` holds, or to the end of the command."""
        deadline = time.monotonic() + timeout_seconds
        while not seen(self.text) and time.monotonic() < deadline:
            if not select.select([self._screen], [], [], 0.1)[0]:
                continue
            try:
                self.text += os.read(self._screen, 65536).decode(errors="replace")
            except OSError:  # the command closed its terminal
                break
        return self.text

    def drop(self) -> None:
        """As sshd does: the terminal is gone, and then shell and kernel tell of it, whenever they like."""
        os.close(self._screen)
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            self.process.send_signal(signal.SIGHUP)
            time.sleep(0.002)

    def end(self) -> tuple[int, str]:
        """Exit code and all output."""
        text = self.read_until(lambda _: False)
        code = self.process.wait(timeout=30)
        os.close(self._screen)
        return code, text


def test_no_is_no(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    before = len(provider.charges())
    terminal = Terminal(cli, "submit", cli.manifest("asked", [MUG]), env=account)
    terminal.read_until(lambda text: "[y/N]" in text)
    terminal.type("\n")
    code, text = terminal.end()
    assert code == 3
    assert "14 credits (~$0.0728). Proceed? [y/N]" in text
    assert len(provider.charges()) == before


def test_yes_is_yes(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    before = len(provider.charges())
    terminal = Terminal(cli, "submit", cli.manifest("agreed", [MUG]), env=account)
    terminal.read_until(lambda text: "[y/N]" in text)
    terminal.type("y\n")
    code, text = terminal.end()
    assert code == 0
    assert "1 completed" in text
    assert len(provider.charges()) == before + 1


def test_a_second_ctrl_c_ends_at_once_and_resume_goes_on(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    provider.play(Faults.of(FaultRule(at="asset", kind="slow", times=None, seconds=3.0)))
    terminal = Terminal(cli, "submit", cli.manifest("impatient", [MUG]), "--yes", env=account)
    terminal.read_until(lambda text: "copying" in text)  # its POST is answered: killed before, it would be in doubt
    terminal.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    terminal.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, text = terminal.end()
    assert code in (130, -signal.SIGINT)
    assert time.monotonic() - began < 20
    assert "Traceback" not in text
    provider.play(Faults())
    assert cli("resume", "impatient", "--yes", "--json", env=account).json["jobs"]["completed"] == 1


@pytest.mark.usefixtures("usual_hangup")
def test_a_dropped_session_leaves_nothing_in_doubt(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    before = len(provider.charges())
    provider.play(Faults.of(FaultRule(at="submit", kind="slow", times=None, seconds=1.0)))
    jobs = [MUG | {"id": f"mug-{number}"} for number in range(8)]
    terminal = Terminal(
        cli, "submit", cli.manifest("dropped", jobs), "--yes", env=account | {"ORCHESTRATOR_MAX_IN_FLIGHT": "2"}
    )
    assert "submitting" in terminal.read_until(lambda text: "submitting" in text)
    terminal.drop()
    assert terminal.process.wait(timeout=30) == 130
    provider.play(Faults())
    counts = cli("status", "dropped", "--json").json["jobs"]
    paid = len(provider.charges()) - before
    assert (counts["submitting"], counts["in_doubt"], counts["pending"]) == (0, 0, 8 - paid)
    assert paid > 0


def test_no_colour_when_it_is_not_wanted(cli: Cli) -> None:
    _, text = Terminal(cli, "plan", cli.manifest("grey", [MUG]), env={"NO_COLOR": "1"}).end()
    assert "14" in text
    assert "\x1b[3" not in text
