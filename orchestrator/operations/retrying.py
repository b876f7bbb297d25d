"""`retry`: run failed jobs again, at the prices of now."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from orchestrator.base.errors import UsageError
from orchestrator.base.money import ZERO, canonical, in_words
from orchestrator.base.payments import Unit
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.quoting import ConfirmQuote, SpendQuote, check_quote, require_yes
from orchestrator.operations.resuming import require_ours, run_here
from orchestrator.operations.running import Progress
from orchestrator.planner.repricing import NoLongerOffered, price_item
from orchestrator.planner.usdc import price_in_unit
from orchestrator.store import batches, creating, reads, retrying
from orchestrator.store.careful_start import forgive_failures
from orchestrator.store.database import Connection
from orchestrator.store.reads import BatchHeader


def retry(
    reference: str,
    settings: Settings,
    *,
    job: str | None = None,
    error: str | None = None,
    again: bool = False,
    confirm: ConfirmQuote,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the failed and rejected jobs of a batch again, or only one, or those with one error; returns its document.

    They are priced by the catalogue in use and checked against the batch's budget and the account's caps before
    `confirm` is asked (not for a sandbox batch). `again`: also those whose payment was lost. Then the batch goes on as
    by `resume`, also where it had ended. Raises UsageError where there is nothing to retry, SpendRefused, Unusable,
    Interrupted.
    """
    with open_database(settings) as database:
        with database.begin() as connection:
            header = reads.batch_header(connection, batches.find_batch(connection, reference))
            chosen, left_out = retrying.choose(connection, header.id, job=job, error=error, again=again)
            stored_files = retrying.count_stored_files(connection, [row.pk for row in chosen])
            catalog = _catalog(connection, header, settings)
        require_ours(settings, database, header)
        prices = _prices(header, catalog, chosen)
        quote = _quote(header, chosen, prices, left_out=left_out, stored_files=stored_files)
        with database.begin() as connection:
            check_quote(connection, quote)
        if not header.sandbox:
            require_yes(quote, confirm)
        with database.begin() as connection:
            batches.lock_batch(connection, header.id)
            retrying.require_not_cancelled(connection, header.id)
            retrying.put_back(connection, header.id, prices)
            batches.reopen_batch(connection, header.id)
            forgive_failures(connection, header.id)
            batches.resume_batch(connection, header.id)
        run_here(settings, database, [header], progress)
        return patiently(database, lambda connection: reads.batch_document(connection, header.id))


def _catalog(connection: Connection, header: BatchHeader, settings: Settings) -> Catalog:
    """The catalogue in use; a batch's own sandbox charges by the one that it was planned with."""
    return creating.batch_catalog(connection, header.id) if header.sandbox else load_catalog(settings.home)


def _prices(header: BatchHeader, catalog: Catalog, chosen: Sequence[Any]) -> dict[int, Decimal]:
    """What each job costs now, in the batch's unit. Raises UsageError for one that cannot be bought any more."""
    prices = {}
    for row in chosen:
        try:
            credit_price = price_item(catalog, type=row.type, model=row.model, item=row.item)
        except NoLongerOffered as error:
            raise UsageError(
                f"job {row.name} cannot be run again: {error.message}", hint=error.hint, code=error.code
            ) from None
        in_catalog = price_in_unit(
            header.payment, header.bundle, catalog, type=row.type, model=row.model, credit_price=credit_price
        )
        # A charge may have told more than the catalogue does; what a request was quoted at is no plan.
        prices[row.pk] = max(in_catalog, (row.price if row.agreed is None else row.agreed) or ZERO)
    return prices


def _quote(
    header: BatchHeader, chosen: Sequence[Any], prices: dict[int, Decimal], *, left_out: int, stored_files: int
) -> SpendQuote:
    notes = _price_notes(chosen, prices, header.payment.unit)
    if left_out:
        notes.append(f"left out: {left_out} whose payment was lost; --again buys them again")
    if stored_files:
        notes.append(f"bought again, too: {stored_files} stored file(s) of jobs that failed for another one")
    charged = [row.spent for row in chosen if row.spent and (row.error or {}).get("charged")]
    return SpendQuote(
        batch_id=header.id,
        jobs=len(chosen),
        job_credits=sum(prices.values(), ZERO),
        other_credits=header.unsent_credits,
        usd_per_credit=header.usd_per_credit,
        notes=tuple(notes),
        unit=header.payment.unit,
        charged_jobs=len(charged),
        charged_credits=sum(charged, ZERO),
    )


def _price_notes(chosen: Sequence[Any], prices: dict[int, Decimal], unit: Unit) -> list[str]:
    changed: dict[tuple[str, Decimal, Decimal], int] = defaultdict(int)
    for row in chosen:
        if prices[row.pk] != row.estimate:
            changed[row.model, row.estimate, prices[row.pk]] += 1
    return [
        f"{model} costs {in_words(now, unit)} now, {canonical(then)} when it was planned ({count} of the jobs)"
        for (model, then, now), count in changed.items()
    ]
