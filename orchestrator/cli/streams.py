"""The standard streams of a command. Whoever reads them may leave: what is paid for goes on; only words are lost."""

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Outlet(FileIO):
    """A descriptor of this process's; what it does not take for a reason of this kind is lost, and nothing else."""

    def __init__(self, descriptor: int, forgiven: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._forgiven = forgiven

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except self._forgiven:
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """A stream that is closed, or whose reader leaves, swallows what is said; a narrow encoding escapes what it cannot
    say.

    On stderr nothing is worth ending the command for. On stdout a full disk is: what was asked for is not there.
    """
    sys.stdout = _prepared(sys.stdout, BrokenPipeError)
    sys.stderr = _prepared(sys.stderr, OSError)


def _prepared(stream: TextIO | None, forgiven: type[OSError]) -> TextIO:
    if stream is None:
        return TextIOWrapper(FileIO(os.devnull, "w"), encoding="utf-8")
    if not isinstance(stream, TextIOWrapper):
        return stream  # of a host, such as a test
    outlet = BufferedWriter(_Outlet(stream.fileno(), forgiven))
    return TextIOWrapper(outlet, encoding=stream.encoding, errors="backslashreplace", line_buffering=True)
