"""The services of the Compose file without Docker: each one's own command, environment and health check, on 127.0.0.1.

What a container would have of its own (host names, ports, /data) is replaced by text; everything else is as it is
written there. Images that are not ours are played by what is at hand: `played` says under which address.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

FILE = Path(__file__).parents[2] / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::([-?])((?:[^{}]|\{[^{}]*\})*))?\}")
_WAIT_SECONDS = 60.0
_STOP_SECONDS = 30.0


def services() -> dict[str, dict[str, Any]]:
    """The services as they are written, with what they merge in."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
    return found


def interpolated(value: str, variables: Mapping[str, str]) -> str:
    """A value as Compose reads it. Raises KeyError with the message of a required variable that is not there."""

    def replace(match: re.Match[str]) -> str:
        name, how, word = match.groups()
        if name is None:
            return "$"
        if how == "?" and not variables.get(name):
            raise KeyError(f"{name}: {word}")
        return variables.get(name) or (interpolated(word, variables) if how == "-" else "")

    return _VARIABLE.sub(replace, value)


@dataclass
class Stack(AbstractContextManager["Stack"]):
    """Some services and all that they depend on.

    `replaced` maps texts of the file to what stands for them here, `more` is put behind a service's command, and
    what is `played` runs already.
    """

    folder: Path
    variables: Mapping[str, str]
    replaced: Mapping[str, str]
    more: Mapping[str, list[str]]
    played: frozenset[str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._services = services()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def up(self, *names: str) -> None:
        """Start these services, each after what it depends on is as it has to be."""
        for name in names:
            if name in self.processes or name in self.played:
                continue
            needed = self._services[name].get("depends_on", {})
            self.up(*needed)
            for other, how in needed.items():
                self._wait_for(other, how["condition"])
            self.processes[name] = self._start(name)

    def run(self, name: str, *command: str) -> "subprocess.CompletedProcess[str]":
        """`docker compose run NAME COMMAND`."""
        return subprocess.run(
            self._local(command), env=self.environment(name), cwd=self.folder, capture_output=True, text=True,
            check=False, timeout=_WAIT_SECONDS,
        )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        """Whether the service's own health check says so."""
        kind, *command = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, *(self._here(word) for word in command)).returncode == 0

    def down(self) -> dict[str, int]:
        """SIGTERM to all that still run, the last one first; the exit codes."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM) if process.poll() is None else None
        return {name: process.wait(_STOP_SECONDS) for name, process in self.processes.items()}

    def environment(self, name: str) -> dict[str, str]:
        """What the service's container has in its environment; of ours only what finds programs."""
        given = self._services[name].get("environment", {})
        passed = {key: self.variables[key] for key, value in given.items() if value is None and key in self.variables}
        written = {key: self._here(value) for key, value in given.items() if value is not None}
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "ORCHESTRATOR_HOME": self._here("/data/home")}
        return own | passed | written

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        command = [*map(self._here, self._services[name]["command"]), *self.more.get(name, ())]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                self._local(command), env=self.environment(name), cwd=self.folder,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _wait_for(self, name: str, condition: str) -> None:
        if name in self.played:
            return
        until = time.monotonic() + _WAIT_SECONDS
        process = self.processes[name]
        if condition == "service_completed_successfully":
            assert process.wait(_WAIT_SECONDS) == 0, self.logs()
            return
        while not self.is_healthy(name):
            assert process.poll() is None, self.logs()
            assert time.monotonic() < until, f"{name} does not become healthy\n{self.logs()}"
            time.sleep(0.1)

    def _here(self, value: str) -> str:
        """A value of the file as it is here; of two texts that fit at one place, the longer one is replaced."""
        texts = sorted(map(re.escape, self.replaced), key=len, reverse=True)
        value = interpolated(str(value), self.variables)
        return re.sub("|".join(texts), lambda match: self.replaced[match.group()], value)

    def _local(self, command: list[str] | tuple[str, ...]) -> list[str]:
        """Our programs are those of this installation."""
        ours = Path(sys.executable).with_name(command[0])
        return [str(ours) if ours.exists() else command[0], *command[1:]]
