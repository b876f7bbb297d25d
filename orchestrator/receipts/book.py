"""The receipts of one account in files: one a UTC day, a line each, only ever added to, by any number of processes."""

import hashlib
import json
import mmap
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

from orchestrator.base import faults
from orchestrator.base.errors import Unusable
from orchestrator.receipts.receipt import Receipt, TopUpReceipt, Word

#: With less than this free, nothing more is bought: what is paid for already still needs room to be written down.
LEAST_FREE_BYTES = 32 * 1024**2
NOTHING_READ: Mapping[str, int] = MappingProxyType({})


class ReceiptFailed(Unusable):
    """A receipt cannot be written: nothing more may be bought until one can."""

    code = "receipt-failed"


@dataclass(frozen=True, slots=True)
class Slip:
    """What a receipt is looked for by; `line` holds all of it."""

    at: datetime
    says: Word
    request_id: str | None
    submission_id: UUID
    line: bytes

    def receipt(self) -> Receipt:
        return Receipt.model_validate_json(self.line)


class ReceiptBook:
    """The receipts of one account under `home`. Blocks; safe to use from threads and from several processes."""

    def __init__(self, home: Path, origin: str, account: str) -> None:
        self.origin, self.account = origin, account
        digest = hashlib.sha256(f"{origin}\n{account}".encode()).hexdigest()[:16]
        self._folder = _folder_of_books(home) / digest
        self._top_ups = self._folder / "top-ups"

    def write(self, *receipts: Receipt) -> None:
        """Add receipts, with one fsync for those of a day; they are durable on return. Raises ReceiptFailed."""
        by_day: dict[date, list[bytes]] = defaultdict(list)
        for receipt in receipts:
            by_day[receipt.at.astimezone(UTC).date()].append(receipt.line() + b"\n")
        for day, lines in by_day.items():
            faults.point("receipt.write")
            try:
                _append(self._file(day), b"".join(lines))
            except OSError as error:
                raise self._failed(error.strerror) from None
            faults.point("receipt.written")

    def write_top_up(self, receipt: TopUpReceipt) -> None:
        """Add the receipt of a top-up; it is durable on return. Raises ReceiptFailed."""
        try:
            _append(self._top_ups, receipt.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise self._failed(error.strerror) from None

    def top_ups_since(self, at: datetime) -> list[TopUpReceipt]:
        """The top-ups that were signed since then, the oldest first, each as its last receipt has it."""
        found: dict[UUID, TopUpReceipt] = {}
        lines = self._top_ups.read_bytes().splitlines() if self._top_ups.is_file() else []
        for line in lines:
            with suppress(ValueError):  # empty or broken off
                receipt = TopUpReceipt.model_validate_json(line)
                found[receipt.id] = receipt
        return [receipt for receipt in found.values() if receipt.created_at >= at]

    def require_writable(self) -> None:
        """Raises ReceiptFailed where the next receipt could not be written."""
        try:
            _append(self._file(datetime.now(UTC).date()), b"")
            free_bytes = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise self._failed(error.strerror) from None
        if free_bytes < LEAST_FREE_BYTES:
            raise self._failed(f"only {free_bytes // 1024**2} MiB are free")

    def newest(self, count: int) -> list[Slip]:
        """The last `count` purchases, the newest first: acceptances, and what was sent and has no later receipt."""
        return list(islice(self._purchases_backwards(), count))

    def purchases(self) -> Iterator[Slip]:
        """All acceptances, and what was sent and has no later receipt, the oldest first."""
        unanswered = self._unanswered()
        for slip in self._slips_since(date.min):
            if slip.says is Word.ACCEPTED or (slip.says is Word.SENT and slip.submission_id in unanswered):
                yield slip

    def answers_since(self, day: date, beyond: Mapping[str, int] = NOTHING_READ) -> Iterator[Slip]:
        """What became of orders on a UTC day and later, the oldest first; only what came after an earlier `sizes()`."""
        return (slip for slip in self._slips_since(day, beyond) if slip.says is not Word.SENT)

    def sizes(self) -> dict[str, int]:
        """How many bytes each file (by name) has now."""
        return {file.name: file.stat().st_size for file in self._files()}

    def _purchases_backwards(self) -> Iterator[Slip]:
        answered: set[UUID] = set()
        for file in reversed(self._files()):
            for slip in _slips(_lines_backwards(file)):
                if slip.says is not Word.SENT:
                    answered.add(slip.submission_id)
                if slip.says is Word.ACCEPTED or slip.submission_id not in answered:
                    yield slip

    def _unanswered(self) -> set[UUID]:
        """The submissions that were sent, with no later receipt of them."""
        unanswered: set[UUID] = set()
        for slip in self._slips_since(date.min):
            if slip.says is Word.SENT:
                unanswered.add(slip.submission_id)
            else:
                unanswered.discard(slip.submission_id)
        return unanswered

    def _slips_since(self, day: date, beyond: Mapping[str, int] = NOTHING_READ) -> Iterator[Slip]:
        for file in self._files():
            if file.stem >= day.isoformat():
                with file.open("rb") as lines:
                    lines.seek(beyond.get(file.name, 0))
                    yield from _slips(lines)

    def _file(self, day: date) -> Path:
        return self._folder / f"{day.isoformat()}.jsonl"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _failed(self, reason: str | None) -> ReceiptFailed:
        return ReceiptFailed(
            f"receipts cannot be written to {self._folder} ({reason}): nothing more is sent",
            hint="make room under ORCHESTRATOR_HOME; it goes on by itself",
        )


def all_books(home: Path) -> list[ReceiptBook]:
    """The book of every account that has receipts under `home`."""
    books: dict[tuple[str, str], ReceiptBook] = {}
    for folder in sorted(_folder_of_books(home).glob("*")):
        for file in sorted(folder.glob("*.jsonl")):
            slip = next(_slips(_lines_backwards(file)), None)
            if slip is not None:
                order = slip.receipt().order
                books[order.origin, order.account] = ReceiptBook(home, order.origin, order.account)
                break
    return list(books.values())


def _folder_of_books(home: Path) -> Path:
    return home / "receipts"


def _append(file: Path, lines: bytes) -> None:
    """Add whole lines and make them durable. A line break goes first: a line that broke off swallows none of them."""
    is_new = not file.exists()
    if is_new:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        data = b"\n" + lines
        if os.write(descriptor, data) < len(data):  # the rest would land behind the lines of another process
            raise OSError(0, "the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        for folder in (file.parent, file.parent.parent):
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _slips(lines: Iterator[bytes]) -> Iterator[Slip]:
    """Of lines that may be empty or broken off, those that are receipts."""
    for line in lines:
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            slip = Slip(
                datetime.fromisoformat(document["at"]),
                Word(document.get("says", Word.ACCEPTED)),
                document["request_id"],
                UUID(document["order"]["submission_id"]),
                line,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        yield slip


def _lines_backwards(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_size == 0:
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = len(data)
            while end >= 0:
                start = data.rfind(b"\n", 0, end)
                yield data[start + 1 : end]
                end = start
