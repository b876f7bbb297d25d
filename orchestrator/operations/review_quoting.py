"""What carrying out the decisions of a page may spend: shown and checked before anything changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from orchestrator.base.money import ZERO, in_words
from orchestrator.base.payments import Unit
from orchestrator.operations.budgeting import check_caps
from orchestrator.operations.deciding import ReviewWork
from orchestrator.operations.quoting import SpendQuote, check_quote
from orchestrator.operations.takes import PricedTakes
from orchestrator.store import answering
from orchestrator.store.database import Database
from orchestrator.store.reads import BatchHeader

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ReviewQuote:
    """What carrying out a file of decisions may spend, in `unit`, `freed` of it on what their batch sends then; `notes`
    say on what.
    """

    amount: Decimal
    freed: Decimal
    usd: Decimal
    unit: Unit
    notes: tuple[str, ...]


#: Told the quote: whether to go on.
ConfirmReview = Callable[[ReviewQuote], bool]


def quote_review(
    database: Database, header: BatchHeader, work: ReviewWork, priced: Sequence[PricedTakes]
) -> ReviewQuote:
    """What all of it may spend. Raises SpendRefused where budget or caps do not allow that."""
    unit = header.payment.unit
    amount, freed = sum((each.amount for each in priced), ZERO), ZERO
    notes = [_take_note(each, unit) for each in priced]
    notes += [each.terms.words() for each in priced if each.terms is not None]
    if work.charged:
        notes.append(f"charged before, with no file: {named(work.charged)}; another take is paid for again")
    with database.begin() as connection:
        if work.answers.sets_free:
            free = answering.price_of(connection, header.id, work.answers)
            quote = SpendQuote(
                header.id, free.freed_jobs, free.freed_credits, free.by_itself, header.usd_per_credit, unit=unit
            )
            check_quote(connection, quote)
            freed = quote.credits
            amount += freed
            notes += _freed_notes(quote)
        if amount and not header.sandbox:
            check_caps(connection, header.account_pk, amount, header.usd_per_credit)
    return ReviewQuote(amount, freed, amount * header.usd_per_credit, unit, tuple(notes))


def _take_note(each: PricedTakes, unit: Unit) -> str:
    others = f", and with them {named(each.others)}" if each.others else ""
    return f"other takes of {named(each.names)}{others}: {in_words(each.amount, unit)}"


def _freed_notes(quote: SpendQuote) -> list[str]:
    price = in_words(quote.job_credits, quote.unit)
    notes = [f"what was accepted lets {quote.jobs} jobs of {quote.batch_id} go: {price}"]
    if quote.other_credits:
        notes.append(f"what else of it is not sent yet goes on, too: {in_words(quote.other_credits, quote.unit)}")
    return notes


def named(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
