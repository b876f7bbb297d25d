"""The journal keeps what it was given, and survives a torn end."""

from pathlib import Path

import pytest

from orchestrator.sandbox.book import Book
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


def test_the_lines_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    job = (
        '{"job_id":"j","item":{"type":"image"},"type":"image","model":"gen","prompt":"a mug","outcome":"failed",'
        '"credits":"2","output":null,"error":{"code":"c","message":"m"},"started_at":2.0,"finished_at":3.0,'
        '"expires_at":4.0}'
    )
    path.write_text(
        '{"kind":"opened","at":1.0,"url_key":"key"}\n'
        '{"kind":"account","at":1.0,"account":"sandbox-0","opening_balance":"10"}\n'
        '{"kind":"top-up","at":1.0,"account":"sandbox-0","credits":"5"}\n'
        '{"kind":"post","at":1.0,"body_sha256":"0","body_bytes":2}\n'
        '{"kind":"request","at":1.0,"request_id":"r","account":"sandbox-0","body_sha256":"0",'
        f'"poll_after_seconds":2.0,"jobs":[{job}]}}\n'
    )
    book = Book(path)
    book.open(0.0, new_url_key="unused")
    assert (book.url_key, book.balance("sandbox-0", 2.0), book.balance("sandbox-0", 3.0)) == ("key", 13, 15)
    assert [(entry.kind, entry.credits, entry.usdc) for entry in book.entries(9.0)] == [
        ("charge", 2, 0),
        ("refund", 2, 0),
    ]
    book.close()
