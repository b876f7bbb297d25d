"""Receipts: durable, whole after a torn line, and found again from either end."""

import json
import multiprocessing
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from orchestrator.base import faults
from orchestrator.receipts import book as book_module
from orchestrator.receipts.book import ReceiptBook, ReceiptFailed, all_books
from orchestrator.receipts.receipt import Order, OrderedBatch, OrderedJob, Receipt, Word

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORIGIN, ACCOUNT = "https://provider.test", "credits:1234"


def receipt(number: int, at: datetime = NOON) -> Receipt:
    batch = OrderedBatch(
        id="things-20261122-0001",
        name="things",
        destination="file:///out",
        media="/media",
        key="{name}/{job}/{index}-{sha8}{ext}",
        bundle=1,
        labels={"team": "blue"},
        manifest="/things.yaml",
        catalog_digest="abc",
        estimated=Decimal("6.5"),
        usd_per_credit=Decimal("0.0052"),
        created_at=NOON,
    )
    job = OrderedJob(
        position=0,
        ordinal=number,
        name=f"job-{number}",
        type="image",
        model="gen",
        labels={},
        estimate=Decimal(3),
        price=Decimal(3),
        item={"prompt": "line\nbreaks and ☕", "image": {"$media": "00ff", "prefix": "data:image/png;base64,"}},
    )
    order = Order(
        submission_id=UUID(int=number),
        origin=ORIGIN,
        account=ACCOUNT,
        body_sha256="00",
        sent_at=at,
        reserved=Decimal(3),
        batch=batch,
        jobs=(job,),
    )
    return Receipt(at=at, request_id=f"request-{number}", order=order)


@pytest.fixture
def book(tmp_path: Path) -> ReceiptBook:
    return ReceiptBook(tmp_path, ORIGIN, ACCOUNT)


def the_file(home: Path) -> Path:
    (file,) = (home / "receipts").glob("*/*.jsonl")
    return file


def test_a_receipt_comes_back_as_it_was(book: ReceiptBook) -> None:
    book.write(receipt(1))
    (slip,) = book.newest(10)
    assert slip.receipt() == receipt(1)
    assert (slip.at, slip.request_id, slip.submission_id) == (NOON, "request-1", UUID(int=1))


def bought(book: ReceiptBook) -> list[tuple[Word, int]]:
    """What a database is held against, which is the same from either end."""
    forwards = [(slip.says, slip.submission_id.int) for slip in book.purchases()]
    assert forwards == [(slip.says, slip.submission_id.int) for slip in reversed(book.newest(99))]
    return forwards


def test_what_was_sent_counts_until_its_end_is_known(book: ReceiptBook) -> None:
    orders = {number: receipt(number).order for number in range(4)}
    for order in orders.values():
        book.write(Receipt.sent(order))
    assert bought(book) == [(Word.SENT, number) for number in range(4)]
    book.write(receipt(1))
    book.write(Receipt.not_charged(orders[2]))
    assert bought(book) == [(Word.SENT, 0), (Word.SENT, 3), (Word.ACCEPTED, 1)]
    assert [slip.submission_id.int for slip in book.answers_since(NOON.date())] == [1, 2]
    book.write(Receipt.sent(receipt(4, NOON + timedelta(hours=12)).order))
    book.write(receipt(3, NOON + timedelta(hours=12)))
    assert bought(book) == [(Word.SENT, 0), (Word.ACCEPTED, 1), (Word.SENT, 4), (Word.ACCEPTED, 3)]


def test_that_it_was_not_charged_is_filed_behind_that_it_was_sent(book: ReceiptBook, tmp_path: Path) -> None:
    """Whenever it is known, and whatever the clock says by then."""
    order = receipt(1).order
    book.write(Receipt.sent(order))
    book.write(Receipt.not_charged(order))
    assert the_file(tmp_path).name == "2026-11-22.jsonl"
    assert bought(book) == []


def test_receipts_of_older_releases_are_acceptances(book: ReceiptBook, tmp_path: Path) -> None:
    book.write(receipt(1))
    document = json.loads(receipt(1).line())
    del document["says"]
    the_file(tmp_path).write_text(json.dumps(document))
    assert bought(book) == [(Word.ACCEPTED, 1)]
    assert book.newest(1)[0].receipt() == receipt(1)


def test_words_of_newer_releases_are_passed_over(book: ReceiptBook, tmp_path: Path) -> None:
    book.write(receipt(1))
    with the_file(tmp_path).open("a") as file:
        file.write(json.dumps(json.loads(receipt(2).line()) | {"says": "refunded"}))
    assert bought(book) == [(Word.ACCEPTED, 1)]


@pytest.mark.parametrize("change", [{"request_id": None}, {"says": "sent"}])
def test_an_acceptance_and_nothing_else_names_a_request(change: dict[str, str | None]) -> None:
    with pytest.raises(ValidationError, match="names a request"):
        Receipt.model_validate(json.loads(receipt(1).line()) | change)


def test_files_are_by_day_and_for_their_owner_only(book: ReceiptBook, tmp_path: Path) -> None:
    late_abroad = datetime.fromisoformat("2026-11-23T01:00:00+02:00")  # still the 22nd in UTC
    for number, at in enumerate((NOON, late_abroad, NOON + timedelta(days=1))):
        book.write(receipt(number, at))
    files = sorted((tmp_path / "receipts").glob("*/*.jsonl"))
    assert [file.name for file in files] == ["2026-11-22.jsonl", "2026-11-23.jsonl"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert files[0].parent.stat().st_mode & 0o777 == 0o700
    assert [slip.request_id for slip in book.newest(2)] == ["request-2", "request-1"]
    assert [slip.request_id for slip in book.answers_since(date(2026, 11, 23))] == ["request-2"]
    assert len(list(book.answers_since(date(2026, 11, 22)))) == 3


@pytest.mark.parametrize("torn_bytes", [1, 100, 2])
def test_a_torn_line_swallows_no_other(book: ReceiptBook, tmp_path: Path, torn_bytes: int) -> None:
    for number in range(3):
        book.write(receipt(number))
    file = the_file(tmp_path)
    os.truncate(file, file.stat().st_size - 1 - torn_bytes)
    book.write(receipt(3))
    assert [slip.request_id for slip in book.newest(9)] == ["request-3", "request-1", "request-0"]
    assert [slip.request_id for slip in book.answers_since(NOON.date())] == ["request-0", "request-1", "request-3"]


def test_garbage_in_a_file_is_passed_over(book: ReceiptBook, tmp_path: Path) -> None:
    book.write(receipt(1))
    with the_file(tmp_path).open("ab") as file:
        file.write(b'\xff\xfe\n[]\n{"at": 1}\nnull\n' + json.dumps({"at": "x", "request_id": "y"}).encode())
    assert [slip.request_id for slip in book.newest(9)] == ["request-1"]


def test_no_receipts_at_all(book: ReceiptBook, tmp_path: Path) -> None:
    assert book.newest(5) == list(book.answers_since(NOON.date())) == all_books(tmp_path) == []


def test_the_books_of_a_home_are_found(book: ReceiptBook, tmp_path: Path) -> None:
    book.write(receipt(1))
    (found,) = all_books(tmp_path)
    assert [slip.request_id for slip in found.newest(1)] == ["request-1"]


def test_receipts_that_are_written_together_share_an_fsync(book: ReceiptBook, monkeypatch: pytest.MonkeyPatch) -> None:
    book.write(receipt(99))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    book.write(*map(receipt, range(64)))
    assert [slip.request_id for slip in book.newest(64)] == [f"request-{number}" for number in range(63, -1, -1)]
    assert len(synced) == 1


def _write_many(home: Path, first: int) -> None:
    book = ReceiptBook(home, ORIGIN, ACCOUNT)
    for number in range(first, first + 50):
        book.write(receipt(number))


def test_several_processes_add_to_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(tmp_path, first)) for first in (0, 50)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = ReceiptBook(tmp_path, ORIGIN, ACCOUNT).newest(1000)
    assert len(found) == len({slip.request_id for slip in found}) == 100


def test_a_full_disk_is_told_to_all_that_wait(book: ReceiptBook, monkeypatch: pytest.MonkeyPatch) -> None:
    book.write(receipt(1))

    def full(_: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ReceiptFailed, match="No space left on device"):
            book.write(receipt(2))
        with pytest.raises(ReceiptFailed):
            book.require_writable()
        patch.setattr(os, "write", lambda *_: 3)
        with pytest.raises(ReceiptFailed, match="full"):
            book.write(receipt(3))
    book.require_writable()
    book.write(receipt(4))
    assert [slip.request_id for slip in book.newest(9)] == ["request-4", "request-1"]


def test_too_little_room_is_as_good_as_none(book: ReceiptBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "LEAST_FREE_BYTES", 10**18)
    with pytest.raises(ReceiptFailed, match="MiB are free"):
        book.require_writable()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "receipts").write_text("in the way")
    with pytest.raises(ReceiptFailed):
        ReceiptBook(tmp_path, ORIGIN, ACCOUNT).write(receipt(1))


def test_there_is_a_boundary_on_either_side(book: ReceiptBook) -> None:
    seen: list[str] = []
    faults.install(seen.append)
    try:
        book.write(receipt(1))
    finally:
        faults.install(None)
    assert seen == ["receipt.write", "receipt.written"]


def test_receipts_of_newer_releases_can_be_read(book: ReceiptBook, tmp_path: Path) -> None:
    document = json.loads(receipt(1).line())
    document["more"] = document["order"]["more"] = uuid4().hex
    book.write(receipt(2))
    the_file(tmp_path).write_text(json.dumps(document))
    (slip,) = book.newest(1)
    assert slip.receipt() == receipt(1)
