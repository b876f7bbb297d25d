"""What planning gives: the jobs to send, what they cost, and what is wrong."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.base.money import ZERO, canonical, credits_to_usd
from orchestrator.base.payments import Payment, Unit
from orchestrator.catalog.models import Catalog
from orchestrator.manifest.collection_keys import ScheduleTimes
from orchestrator.planner.usdc import UsdcPrice, total_usdc
from orchestrator.planner.ways import Way, ways_to_pay

_MONEY = frozenset({Code.OVER_BUDGET, Code.PRICE_CHANGED})


class PlannedJob(NamedTuple):
    """One valid job. `item` is the provider's request item, with media as `{"$media": sha256, "prefix": ...}`.

    Another job's result stands in it as `{"$from": job id, "use": "original" | "final_frame"}`; `needs` are the ids of
    all of them. `fingerprint` (`fp1:...`) stands for everything that determines the result. `has_gate`: those that
    need this one wait until a person has looked at it. `row` are the columns of the row that it was made from, which
    stands at `row_place` (`products.csv, row 12`); `take` is its number where there are several of one kind. `estimate`
    is its price in credits by the catalogue, whoever pays.
    """

    ordinal: int
    id: str
    type: str
    model: str
    item: dict[str, Any]
    labels: dict[str, str]
    estimate: Decimal
    fingerprint: str | None = None
    needs: tuple[str, ...] = ()
    has_gate: bool = False
    row: dict[str, Any] | None = None
    take: int | None = None
    row_place: str | None = None


@dataclass(frozen=True, slots=True)
class RejectedJob:
    """A job that `on_invalid` leaves out because of what its own row says: `error` is the first such fault."""

    ordinal: int
    id: str
    type: str | None
    model: str | None
    labels: dict[str, str]
    row: dict[str, Any] | None
    error: Diagnostic


@dataclass(frozen=True, slots=True)
class MediaBlob:
    """The bytes behind a `$media`: in a local file (`path`) or taken out of the manifest (`data`).

    `turned_from` is the hash of the file where it is a photo that is turned upright before it is sent: then `sha256`
    and `size_bytes` are those of what `planner.media.read_blob` makes of it. `uri` says where on S3 the file is from.
    """

    sha256: str
    size_bytes: int
    path: Path | None
    data: bytes | None
    turned_from: str | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A manifest, checked and priced. `jobs` holds the valid ones of `job_count`.

    `estimate` is their price in credits by the catalogue, whoever pays; `amount` is what is set aside for them, in the
    unit of `payment`. So is `budget`, the least of all caps; `budget_usd` is what the manifest says where it says
    dollars. `destination` is s3://, file:// or an absolute path. `price_tolerance` and `stop_when_failed_over` are
    fractions, 0.05 for 5 %.
    `canary` is the number of jobs of each model that run first. `reuse` is where results are looked for that need not
    be bought: in the collection, in all of the account's, or nowhere. A `partial` one leaves the rest of its collection
    as it is.
    """

    file: str
    name: str | None
    destination: str | None
    key: str
    budget: Decimal | None
    budget_usd: Decimal | None
    bundle: int
    price_tolerance: Decimal | None
    canary: int | None
    stop_when_failed_over: Decimal | None
    labels: dict[str, str]
    jobs: tuple[PlannedJob, ...]
    job_count: int
    estimate: Decimal
    usd_per_credit: Decimal
    catalog: Catalog
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]
    media: dict[str, MediaBlob]
    rejected: tuple[RejectedJob, ...] = ()
    notify: tuple[dict[str, Any], ...] = ()
    reuse: Literal["collection", "all", "none"] = "collection"
    partial: bool = False
    schedule: ScheduleTimes | None = None
    payment: Payment = Payment.CREDITS

    @property
    def source(self) -> str:
        """The file's absolute path, or its URI."""
        return self.file if "://" in self.file else str(Path(self.file).absolute())

    @property
    def valid(self) -> bool:
        return not self.errors

    @property
    def run_count(self) -> int:
        """How many jobs there are but for those that are left out for their rows."""
        return self.job_count - len(self.rejected)

    @property
    def only_money(self) -> bool:
        """Whether the price is all that is wrong (exit code 3 rather than 2)."""
        return bool(self.errors) and all(error.code in _MONEY for error in self.errors)

    @property
    def only_over_budget(self) -> bool:
        """Whether all that is wrong is the price of it all, while not all of it may have to be bought."""
        return bool(self.errors) and all(error.code is Code.OVER_BUDGET for error in self.errors)

    @property
    def usdc(self) -> UsdcPrice | None:
        """What the jobs cost in USDC; None where credits pay for them."""
        if self.payment.unit is Unit.CREDITS:
            return None
        return total_usdc(self.jobs, self.payment, self.bundle, self.catalog)

    @property
    def amount(self) -> Decimal:
        """What is set aside for all jobs, in the unit of `payment`."""
        usdc = self.usdc
        return self.estimate if usdc is None else usdc.total

    @property
    def usd_per_unit(self) -> Decimal:
        """US dollars of one unit of `payment`: a credit's price, or 1 for USDC."""
        return self.usd_per_credit if self.payment.unit is Unit.CREDITS else Decimal(1)

    def ways(self) -> tuple[Way, ...]:
        """What each way to pay would cost, the cheapest first."""
        return ways_to_pay(self.jobs, bundle=self.bundle, catalog=self.catalog, usd_per_credit=self.usd_per_credit)

    def document(self) -> dict[str, Any]:
        """The interface's `plan` JSON."""
        usdc = self.usdc
        return {
            "valid": self.valid,
            "name": self.name,
            "jobs": self.run_count,
            "rejected": len(self.rejected),
            "payment": self.payment.value,
            "estimate": self._money(self.estimate, self.amount),
            "usdc": None if usdc is None else usdc.document(),
            "payments": [way.document() | {"chosen": way.payment is self.payment} for way in self.ways()],
            "by_model": self._by_model(),
            "catalog": self.catalog.info(),
            "errors": [error.document() for error in self.errors],
            "warnings": [warning.document() for warning in self.warnings],
        }

    def _money(self, credit_amount: Decimal, amount: Decimal) -> dict[str, str]:
        usd = credits_to_usd(amount, self.usd_per_unit)
        return {"credits": canonical(credit_amount), "usd": canonical(usd)}

    def _by_model(self) -> list[dict[str, Any]]:
        by_model: dict[tuple[str, str], list[PlannedJob]] = defaultdict(list)
        for job in self.jobs:
            by_model[job.model, job.type].append(job)
        costs = {key: sum((job.estimate for job in jobs), ZERO) for key, jobs in by_model.items()}
        dearest_first = sorted(by_model, key=lambda key: (-costs[key], key))
        return [
            {
                "model": model,
                "type": type_,
                "jobs": len(by_model[model, type_]),
                **self._money(costs[model, type_], self._amount(by_model[model, type_])),
            }
            for model, type_ in dearest_first
        ]

    def _amount(self, jobs: Sequence[PlannedJob]) -> Decimal:
        if self.payment.unit is Unit.CREDITS:
            return sum((job.estimate for job in jobs), ZERO)
        return total_usdc(jobs, self.payment, self.bundle, self.catalog).total
