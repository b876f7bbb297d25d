"""`approve`: let a batch go on that waits for a person: canaries, gates, a changed price, failures, unusual work."""

from typing import Any

from orchestrator.base.errors import SpendRefused
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.quoting import ConfirmQuote, SpendQuote, check_quote, require_yes
from orchestrator.operations.resuming import require_ours, run_here
from orchestrator.operations.running import Progress
from orchestrator.store import approving, batches, reads
from orchestrator.store.approving import Asked
from orchestrator.store.reads import BatchHeader


def approve(
    reference: str,
    settings: Settings,
    *,
    job: str | None = None,
    confirm: ConfirmQuote,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Answer what a batch waits for with yes, or only one job's canary or gate; returns the batch's document.

    What may be spent then is checked against the batch's budget and the account's caps before `confirm` is asked (not
    for a sandbox batch). Then the batch goes on as by `resume`. Raises UsageError where there is nothing to approve,
    SpendRefused, Unusable, Interrupted.
    """
    with open_database(settings) as database:
        with database.begin() as connection:
            header = reads.batch_header(connection, batches.find_batch(connection, reference))
            asked = approving.find_asked(connection, header.id, job)
        require_ours(settings, database, header)
        quote = _quote(header, asked)
        with database.begin() as connection:
            check_quote(connection, quote)
        if not header.sandbox:
            require_yes(quote, confirm)
        with database.begin() as connection:
            batches.lock_batch(connection, header.id)
            now = approving.find_asked(connection, header.id, job)
            if now.credits > quote.credits:
                raise SpendRefused("the prices have risen meanwhile; nothing was changed or sent", hint="look again")
            approving.answer(connection, header.id, now)
            batches.resume_batch(connection, header.id)
        run_here(settings, database, [header], progress)
        return patiently(database, lambda connection: reads.batch_document(connection, header.id))


def _quote(header: BatchHeader, asked: Asked) -> SpendQuote:
    return SpendQuote(
        batch_id=header.id,
        jobs=asked.waiting_jobs,
        job_credits=asked.waiting_credits,
        other_credits=asked.pending_credits,
        usd_per_credit=header.usd_per_credit,
        notes=asked.words,
        unit=header.payment.unit,
    )
