"""The sandbox's memory: an append-only file of JSON lines, replayed at start.

A line is written with one system call before its fact is answered to anyone, so a SIGKILL can lose only what nobody
was told, and can tear only the last line.
"""

import os
from pathlib import Path

from pydantic import ValidationError

from orchestrator.sandbox.records import RECORD, Record


class JournalCorrupt(Exception):
    """A line before the last one cannot be read: the file was changed by something else."""


class Journal:
    """Appends records to `path` and reads them back; one process at a time (the server holds a lock)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def open(self) -> list[Record]:
        """Everything recorded so far; a torn last line is cut off. Raises JournalCorrupt."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole, _, torn = content.rpartition(b"\n")
        records = [self._read(line, number) for number, line in enumerate(whole.split(b"\n"), 1) if line]
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if torn:
            os.ftruncate(self._file, len(content) - len(torn))
        return records

    def append(self, record: Record) -> None:
        """Keeps `record`; on return it survives the death of this process."""
        if self._file is None:
            raise ValueError("the journal is not open")
        line = memoryview(record.model_dump_json().encode() + b"\n")
        while line:
            line = line[os.write(self._file, line) :]

    def close(self) -> None:
        """Closes the file; `open` may be called again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self, line: bytes, number: int) -> Record:
        try:
            return RECORD.validate_json(line)
        except ValidationError as error:
            raise JournalCorrupt(f"{self._path}:{number}: not a sandbox record") from error
