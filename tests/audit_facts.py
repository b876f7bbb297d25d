"""What the auditor looks at: all rows that matter, read in one statement, and what the provider booked."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, text


class Movement(Protocol):
    """What the provider booked, in credits or in USDC; the sandbox's `Entry` is one."""

    @property
    def kind(self) -> Literal["charge", "refund"]: ...

    @property
    def prompt(self) -> str: ...

    @property
    def credits(self) -> Decimal: ...

    @property
    def usdc(self) -> Decimal: ...


class Settlement(Protocol):
    """A payment that has settled on a chain; the sandbox's `Settlement` is one. `amount` is in atomic USDC."""

    @property
    def network(self) -> str: ...

    @property
    def payer(self) -> str: ...

    @property
    def amount(self) -> int: ...

    @property
    def nonce(self) -> str: ...


#: What is read of our rows, all in one statement: one instant.
_ROWS = {
    "jobs": "SELECT *, item->>'prompt' AS prompt, error->>'code' AS error_code, "
    "strpos(item::text, '\"$from\"') > 0 AS lacks_result FROM job ORDER BY pk",
    "needs": "SELECT job_pk, needed_pk FROM job_need ORDER BY job_pk, needed_pk",
    "submissions": "SELECT * FROM submission",
    "ledger": "SELECT * FROM ledger ORDER BY pk",
    "batches": "SELECT * FROM batch",
    "holds": "SELECT batch_id, code, blocking FROM hold",
    "assets": "SELECT job_pk, role, uri, sha256, stored_at FROM asset",
    "accounts": "SELECT * FROM account",
    "payments": "SELECT * FROM payment ORDER BY created_at, id",
    "usage": "SELECT batch_id, day, sum(credits) AS credits FROM usage GROUP BY batch_id, day",
}
_FACTS = text(
    "SELECT json_build_object("
    + ", ".join(f"'{name}', (SELECT coalesce(json_agg(r), '[]') FROM ({query}) AS r)" for name, query in _ROWS.items())
    + ")::text"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """All rows at one instant, and the provider's bookings. Rows are as JSON tells them: ids and instants are text."""

    jobs: Sequence[Any]
    #: By job, the jobs whose results it needs.
    needs: Mapping[int, Sequence[Any]]
    submissions: Mapping[str, Any]
    ledger: Sequence[Any]
    batches: Mapping[str, Any]
    holds: Mapping[str, Mapping[str, bool]]
    assets: Mapping[int, Sequence[Any]]
    accounts: Mapping[int, Any]
    usage: Mapping[tuple[str, str], Decimal]
    #: What was charged (and, below zero, given back) for each prompt, in the unit that `units` names.
    charges: Mapping[str, list[Decimal]]
    units: Mapping[str, set[str]]
    #: The signed payments of ours, and those that have settled on a chain, by network and nonce.
    payments: Mapping[tuple[str, str], Any]
    settlements: Mapping[tuple[str, str], Settlement]

    @classmethod
    def read(
        cls, connection: Connection, movements: Iterable[Movement], settlements: Iterable[Settlement] = ()
    ) -> "Facts":
        rows = json.loads(
            connection.execute(_FACTS).scalar_one(), parse_float=Decimal, object_hook=lambda row: SimpleNamespace(**row)
        )
        charges: dict[str, list[Decimal]] = defaultdict(list)
        units: dict[str, set[str]] = defaultdict(set)
        for movement in movements:
            amount = movement.credits or movement.usdc
            charges[movement.prompt].append(amount if movement.kind == "charge" else -amount)
            units[movement.prompt].add("usdc" if movement.usdc else "credits")
        holds: dict[str, dict[str, bool]] = defaultdict(dict)
        for hold in rows.holds:
            holds[hold.batch_id][hold.code] = hold.blocking
        assets: dict[int, list[Any]] = defaultdict(list)
        for asset in rows.assets:
            assets[asset.job_pk].append(asset)
        by_pk = {job.pk: job for job in rows.jobs}
        needs: dict[int, list[Any]] = defaultdict(list)
        for need in rows.needs:
            needs[need.job_pk].append(by_pk[need.needed_pk])
        return cls(
            jobs=rows.jobs,
            needs=needs,
            submissions={row.id: row for row in rows.submissions},
            ledger=rows.ledger,
            batches={row.id: row for row in rows.batches},
            holds=holds,
            assets=assets,
            accounts={row.pk: row for row in rows.accounts},
            usage={(row.batch_id, row.day): row.credits for row in rows.usage},
            charges=charges,
            units=units,
            payments={(row.network, row.nonce): row for row in rows.payments},
            settlements={(one.network, one.nonce): one for one in settlements},
        )

    def is_paid_directly(self, job: Any) -> bool:
        """Whether each request for the job carries a payment of its own."""
        return str(self.batches[job.batch_id].payment).startswith("x402-")

    def in_books(self) -> dict[tuple[str, int], Counter[str]]:
        """What each job of each submission has in each book."""
        found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        for row in self.ledger:
            books = found[row.submission_id, row.job_pk]
            books[row.from_book] -= row.amount
            books[row.to_book] += row.amount
        return found
