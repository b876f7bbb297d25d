"""What `retry` and `approve` would spend: shown and checked before anything changes."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestrator.base.errors import SpendRefused
from orchestrator.base.money import ZERO, canonical, in_words
from orchestrator.base.payments import Unit
from orchestrator.operations.budgeting import check_caps
from orchestrator.store import batches
from orchestrator.store.budgets import committed_credits
from orchestrator.store.database import Connection


@dataclass(frozen=True, slots=True)
class SpendQuote:
    """What may be spent, in `unit`: on `jobs` that run again or may go, and on what of the batch could be sent anyway.

    `notes` says in words what is special about it, such as a price that is not what it was. `charged_jobs` of the jobs
    that run again were charged before, `charged_credits` in all, and gave no file, or not all.
    """

    batch_id: str
    jobs: int
    job_credits: Decimal
    other_credits: Decimal
    usd_per_credit: Decimal
    notes: tuple[str, ...] = ()
    unit: Unit = Unit.CREDITS
    charged_jobs: int = 0
    charged_credits: Decimal = ZERO

    @property
    def credits(self) -> Decimal:
        return self.job_credits + self.other_credits

    @property
    def usd(self) -> Decimal:
        return self.credits * self.usd_per_credit


_OPTIONS = {Unit.CREDITS: "--credits", Unit.USDC: "--usd"}

#: Told a quote: whether to go on.
ConfirmQuote = Callable[[SpendQuote], bool]


def check_quote(connection: Connection, quote: SpendQuote) -> None:
    """Raises SpendRefused where the batch's budget or a cap of the account does not cover it. Reserves nothing."""
    batch = batches.lock_batch(connection, quote.batch_id)
    if batch.budget is not None:
        _check_budget(batch, committed_credits(connection, batch.id), quote)
    check_caps(connection, batch.account_pk, quote.credits, batch.usd_per_credit)


def _check_budget(batch: Any, committed: Decimal, quote: SpendQuote) -> None:
    enough = committed + quote.credits
    if enough > batch.budget:
        raise SpendRefused(
            f"this needs up to {in_words(quote.credits, quote.unit)}, {canonical(enough - batch.budget)} more than the "
            f"budget of {in_words(batch.budget, quote.unit)} has left; nothing was changed or sent",
            hint=f"raise it: orchestrator budget set --batch {batch.id} {_OPTIONS[quote.unit]} {canonical(enough)}",
            code="over-budget",
        )


def require_yes(quote: SpendQuote, confirm: ConfirmQuote) -> None:
    """Raises SpendRefused unless `confirm` agrees."""
    if not confirm(quote):
        raise SpendRefused("not confirmed: nothing was changed or sent", hint="say yes with --yes")
