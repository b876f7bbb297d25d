"""What must hold of signed payments (I1, I6, I9), seen from the chain: what has settled is in our rows, once, and costs
just that; and a signature is in no other place.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from .audit_facts import Facts

_ATOMIC = Decimal("0.000001")
_COMMITTED = ("reserved", "in_doubt", "spent", "lost")
#: Who may count a payment as settled that is not known to have.
_SAY_SO = ("person", "write-off")
_TABLES = ("job", "submission", "batch", "hold", "event", "ledger", "notification")


def paid_for(facts: Facts, job: Any) -> int:
    """How many payments for a job have settled."""
    bought = {row.submission_id for row in facts.ledger if row.job_pk == job.pk}
    rows = (facts.payments.get(key) for key in facts.settlements)
    return sum(row is not None and row.submission_id in bought for row in rows)


def is_said(submission: Any) -> bool:
    """Whether a submission counts as charged by a person's word, or by the clock's."""
    return submission is not None and submission.settled_by in _SAY_SO


def check_payments(facts: Facts) -> Iterator[str]:
    """What is wrong between our payments and those on the chains."""
    yield from _unknown(facts)
    committed = _committed(facts)
    for key, row in facts.payments.items():
        settled = facts.settlements.get(key)
        if row.state != "signed" and row.signed is not None:
            yield f"I9 secret: the signature of the payment {row.id} is still there, it is {row.state}"
        if settled is None:
            yield from _unsettled(facts, row)
        else:
            yield from _settled(row, settled, committed.get(row.submission_id))
    for submission in facts.submissions.values():
        if submission.state == "accepted" and submission.id in committed and _is_unpaid(facts, submission):
            yield f"I5 truth: {submission.id} is accepted, and its payment has not settled"


def _unknown(facts: Facts) -> Iterator[str]:
    for (network, nonce), settled in facts.settlements.items():
        if (network, nonce) not in facts.payments:
            yield f"I1 once: {settled.amount} atomic USDC of {settled.payer} moved on {network}, and no row knows of it"


def _unsettled(facts: Facts, row: Any) -> Iterator[str]:
    submission = facts.submissions.get(row.submission_id)
    if row.state == "settled" and not is_said(submission):
        yield f"I5 truth: the payment {row.id} counts as settled, and its chain does not know of it"


def _settled(row: Any, settled: Any, committed: Decimal | None) -> Iterator[str]:
    """`committed`: what the ledger counts for its submission; None: it is a top-up."""
    amount = settled.amount * _ATOMIC
    if (row.amount, row.payer) != (amount, settled.payer):
        yield f"I6 ledger: {settled.payer} paid {amount}, the payment {row.id} says {row.amount} of {row.payer}"
    if row.state == "void":
        yield f"I1 once: the payment {row.id} counts as void, and it has settled"
    elif committed is not None and committed != amount:
        yield f"I6 ledger: {amount} USDC have settled for {row.submission_id}, the ledger says {committed}"


def _committed(facts: Facts) -> dict[str, Decimal]:
    """What is committed for each submission that is paid for by itself."""
    found = {row.submission_id: Decimal(0) for row in facts.payments.values() if row.submission_id is not None}
    for (submission_id, _), books in facts.in_books().items():
        if submission_id in found:
            found[submission_id] += sum((books[book] for book in _COMMITTED), Decimal(0))
    return found


def _is_unpaid(facts: Facts, submission: Any) -> bool:
    return all(facts.payments[key].submission_id != submission.id for key in facts.settlements if key in facts.payments)


@dataclass
class Signatures:
    """Every signature that was ever seen in our rows, and where else it is."""

    _seen: set[str] = field(default_factory=set)

    def note(self, facts: Facts) -> None:
        for row in facts.payments.values():
            if row.signed is not None and row.signed not in self._seen:
                self._seen |= {row.signed, *_secrets(row.signed)}

    def leaks(self, connection: Connection, home: Path | None) -> Iterator[str]:
        """Where a signature is that it must not be: in another row, or in a file that we leave (I9)."""
        if not self._seen:
            return
        rows = [(table, f"{table} AS t", "t::text") for table in _TABLES]
        for table, source, words in [*rows, ("payment", "payment AS t", "(to_jsonb(t) - 'signed')::text")]:
            query = text(
                f"SELECT count(*) FROM {source}, unnest(CAST(:seen AS text[])) AS s WHERE strpos({words}, s) > 0"
            )
            if connection.execute(query, {"seen": sorted(self._seen)}).scalar_one():
                yield f"I9 secret: the table {table} holds a signature"
        for path in _files(home):
            content = path.read_bytes()
            if any(secret.encode() in content for secret in self._seen):
                yield f"I9 secret: {path.name} holds a signature"


def _secrets(header: str) -> list[str]:
    payload = json.loads(base64.b64decode(header))["payload"]
    return [payload[name] for name in ("signature", "transaction") if name in payload]


def _files(home: Path | None) -> Iterable[Path]:
    """Receipts above all; not the database's own files."""
    if home is None:
        return []
    return [path for path in home.rglob("*") if path.is_file() and "postgres" not in path.parts]
