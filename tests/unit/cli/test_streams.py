"""Standard streams whose reader leaves, as with `2>&1 | head`, or whose terminal is gone."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

import pytest

from orchestrator.cli import console, streams


@pytest.fixture
def lead_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Has both streams of the process lead to a descriptor, and prepared."""
    streams_made: list[TextIO] = []

    def lead(descriptor: int) -> None:
        for name in ("stdout", "stderr"):
            streams_made.append(TextIOWrapper(os.fdopen(os.dup(descriptor), "wb"), encoding="ascii"))
            monkeypatch.setattr(sys, name, streams_made[-1])
        os.close(descriptor)
        console.out.cache_clear()
        console.err.cache_clear()
        streams.prepare_streams()
        streams_made[:0] = [sys.stdout, sys.stderr]

    yield lead
    for stream in streams_made:
        with suppress(OSError):
            stream.close()


def test_what_is_said_arrives(lead_to: Callable[[int], None]) -> None:
    read, write = os.pipe()
    lead_to(write)
    console.show("asked for")
    console.tell("tölt")
    assert os.read(read, 1000) == b"asked for\nt\\xf6lt\n"
    os.close(read)


def test_a_reader_that_leaves_ends_nothing(lead_to: Callable[[int], None]) -> None:
    read, write = os.pipe()
    lead_to(write)
    console.show("asked for")
    os.close(read)
    for _ in range(2):
        console.show("said to nobody")
        console.tell("told to nobody")
        console.print_json({})
        sys.stderr.write("nor this")
    sys.stdout.flush()  # as Python does at its end
    sys.stderr.flush()


def test_a_full_disk_is_a_reason_to_end_only_under_what_was_asked_for(lead_to: Callable[[int], None]) -> None:
    lead_to(os.open("/dev/full", os.O_WRONLY))
    console.tell("told")
    with pytest.raises(OSError, match="No space"):
        console.show("asked for")
