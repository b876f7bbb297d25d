"""The journal keeps what it was given, and survives a torn end."""

from pathlib import Path

import pytest

from orchestrator.sandbox.journal import Journal, JournalCorrupt
from orchestrator.sandbox.records import PostReceived


def post(at: float) -> PostReceived:
    return PostReceived(at=at, body_sha256="0" * 64, body_bytes=2)


def write(path: Path, *records: PostReceived) -> None:
    journal = Journal(path)
    journal.open()
    for record in records:
        journal.append(record)
    journal.close()


def read(path: Path) -> list[object]:
    journal = Journal(path)
    records = journal.open()
    journal.close()
    return list(records)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, post(1), post(2))
    write(path, post(3))
    assert read(path) == [post(1), post(2), post(3)]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_dropped_and_the_next_record_follows_cleanly(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, post(1), post(2))
    path.write_bytes(path.read_bytes()[:-cut])
    assert read(path) == [post(1)]
    write(path, post(3))
    assert read(path) == [post(1), post(3)]


def test_damage_before_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, post(1))
    path.write_bytes(b"not json\n" + path.read_bytes())
    with pytest.raises(JournalCorrupt, match=":1: not a sandbox record"):
        read(path)


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open"):
        Journal(tmp_path / "journal.jsonl").append(post(1))
