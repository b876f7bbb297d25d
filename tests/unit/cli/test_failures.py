"""Failures in words and in JSON; nothing from outside steers the terminal, and no secret leaves the process."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.base.errors import Unusable
from orchestrator.cli import console, entry, failures
from orchestrator.cli.app import app


@pytest.fixture(autouse=True)
def own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, and consoles that write to what the test captures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "home"))
    console.out.cache_clear()
    console.err.cache_clear()


def test_words_from_outside_are_neither_markup_nor_control_codes(capfd: pytest.CaptureFixture[str]) -> None:
    error = Unusable("[bold]no[/bold] \x1b[31mred\nnext \u202eback", hint="[link=x]see[/link]")
    assert failures.report(error, as_json=False) == 4
    assert capfd.readouterr().err.splitlines() == [
        "error: [bold]no[/bold] \\x1b[31mred\\nnext \\u202eback",
        "hint: [link=x]see[/link]",
    ]


def test_a_fault_that_several_jobs_have_in_common_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    fault = {"code": "invalid-value", "message": "no", "file": "m", "line": 2, "column": 3, "field": "prompt"}
    failures.tell_diagnostics({"errors": [], "warnings": [fault | {"job": name} for name in ("mug-png", "mug-jpeg")]})
    assert capfd.readouterr().err == "m:2:3: warning[invalid-value]: no\n"


def test_json_is_one_document_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["nope", "--json"]) == 2
    out, err = capfd.readouterr()
    assert json.loads(out) == {
        "error": {"code": "usage", "message": "No such command 'nope'.", "hint": "see: orchestrator --help"}
    }
    assert err == ""


def failing_app(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> Sequence[object]:
        raise error

    monkeypatch.setattr("orchestrator.operations.planning.plan", fail)


def test_an_unexpected_exception_is_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("KATANA_API_SECRET", "s3cr3t-word")
    failing_app(monkeypatch, RuntimeError("held s3cr3t-word"))
    assert entry.run(["plan", "x.yaml"]) == 70
    out, err = capfd.readouterr()
    assert (out, "Traceback" in err, "s3cr3t" in err) == ("", False, False)
    (log,) = (tmp_path / "home" / "logs").iterdir()
    assert str(log) in err
    assert "RuntimeError: held ***" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_ctrl_c_anywhere_is_130(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    failing_app(monkeypatch, KeyboardInterrupt())
    assert entry.run(["plan", "x.yaml", "--json"]) == 130
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "interrupted"


def test_a_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failing_app(monkeypatch, PermissionError(13, "Permission denied", "/some/file"))
    assert entry.run(["plan", "x.yaml"]) == 4
    assert "error: /some/file: Permission denied" in capfd.readouterr().err


def test_a_crash_log_is_as_free_of_secrets_as_any_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", "postgresql://me:pass%40word@db.test/o")
    monkeypatch.setenv("BASE_RPC_URL", "https://rpc.test/v2/key-in-the-path")
    told = "pass@word https://rpc.test/v2/key-in-the-path redis://:word@cache/0 https://a.test/x.png?sig=abc"
    failures.own_fault(RuntimeError(told))
    (log,) = (tmp_path / "home" / "logs").iterdir()
    assert log.read_text() == "RuntimeError: *** *** redis://***@cache/0 https://a.test/x.png?***\n"


def test_every_command_has_a_help_text() -> None:
    assert all(command.callback is not None and command.callback.__doc__ for command in app.registered_commands)
