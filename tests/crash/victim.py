"""The process that dies: it runs one command line and kills itself at its n-th visit of a boundary.

It is forked from a server that has everything imported (`tests/forked.py`), so that a trial takes tenths of seconds.
"""

import importlib
import os
import re
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Engine, event

from orchestrator.base import faults

_CHANGE = re.compile(r"\b(?:(INSERT) INTO (\w+)|(DELETE) FROM (\w+)|(UPDATE) (\w+) SET)")


class Boundary(NamedTuple):
    """The n-th visit of a fault point; a commit's name says what it changes."""

    name: str
    visit: int

    def __str__(self) -> str:
        return f"{self.name} #{self.visit}"


@dataclass(frozen=True)
class Errand:
    """A command line, where it runs, and where it dies. `sabotage` names a function of `sabotage.py`."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    log: Path
    die_at: Boundary | None = None
    sabotage: str | None = None


class _Commits(threading.local):
    """What the transaction of each thread has changed up to now: `update job`. One that only reads changes nothing."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    def watch(self) -> None:
        event.listen(Engine, "begin", self._forget)
        event.listen(Engine, "rollback", self._forget)
        event.listen(Engine, "after_cursor_execute", self._note)

    def _forget(self, _: Any) -> None:
        self.changes = []

    def _note(self, _: Any, cursor: psycopg.Cursor[Any], statement: str, *__: Any) -> None:
        if cursor.rowcount > 0:
            for match in _CHANGE.finditer(statement):
                change = " ".join(filter(None, match.groups())).lower()
                self.changes += [] if change in self.changes else [change]


class Visits:
    """A hook that counts the boundaries as they are reached, and dies at one."""

    def __init__(self, die_at: Boundary | None) -> None:
        self._die_at = die_at
        self._lock = threading.Lock()
        self._commits = _Commits()
        self._commits.watch()
        self.counts: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        if point.startswith("db."):
            if not self._commits.changes:
                return
            point = f"{point} ({', '.join(self._commits.changes)})"
        with self._lock:
            self.counts[point] += 1
            if self._die_at == (point, self.counts[point]):
                os.kill(os.getpid(), signal.SIGKILL)


def run(errand: Errand, told: Connection) -> None:
    """Run the errand; tells how often each boundary was visited if it lives to the end."""
    os.environ.clear()
    os.environ.update(errand.environment)
    os.chdir(errand.folder)
    log = os.open(errand.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    visits = Visits(errand.die_at)
    faults.install(visits)
    if errand.sabotage is not None:
        getattr(importlib.import_module(f"{__package__}.sabotage"), errand.sabotage)()
    sys.argv = list(errand.arguments)
    module = "celery.__main__" if sys.argv[0] == "celery" else "orchestrator.cli"
    try:
        importlib.import_module(module).main()
    finally:
        told.send(dict(visits.counts))
