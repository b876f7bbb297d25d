"""`review apply`: price what people decided on a report's page, and carry it out once."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from orchestrator.base.diagnostics import Code
from orchestrator.base.errors import Interrupted, ManifestError, OrchestratorError, SpendRefused
from orchestrator.base.money import canonical
from orchestrator.base.settings import Settings
from orchestrator.base.states import ENDED_BATCHES, Decision
from orchestrator.manifest.decisions import Decisions, read_decisions
from orchestrator.manifest.findings import Findings, in_order
from orchestrator.operations import running
from orchestrator.operations.account import check_funds
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.deciding import ReviewWork, UnderReview, work_of
from orchestrator.operations.opening import provider_for
from orchestrator.operations.resuming import require_ours, run_here
from orchestrator.operations.review_quoting import ConfirmReview, ReviewQuote, named, quote_review
from orchestrator.operations.running import Progress
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.operations.takes import PricedTakes, priced_takes
from orchestrator.planner.result import Plan
from orchestrator.store import answering, batches, reads, reviews
from orchestrator.store.database import Connection, Database
from orchestrator.store.reads import BatchHeader

log = logging.getLogger("orchestrator.operations")


def apply_review(
    file: Path, settings: Settings, *, confirm: ConfirmReview, progress: Progress | None = None
) -> dict[str, Any]:
    """Carry out the decisions in a file, all of them or none; returns what that was, with the batches' documents.

    Accepted results open their gates, and the canaries' hold once all are accepted. Rejected ones leave the index and
    close their gates. Other takes are bought in a batch of their own, each once, however often a file asks for it.
    What may be spent is checked against budget and caps before `confirm` is asked (not for a sandbox batch). Raises
    ManifestError with all that is wrong with the file, UsageError, SpendRefused, Unusable, Interrupted.
    """
    findings = Findings(str(file))
    decisions = read_decisions(file, findings)
    with open_database(settings) as database, ExitStack() as stack:
        header, work = _look(database, decisions, findings)
        takes, stored = _takes_left(database, header, work)
        is_over = header.state in ENDED_BATCHES  # then its index is all that is left to do
        writes_index = bool(work.new) and is_over and (header.sandbox or settings.broker_url is None)
        if work.answers.sets_free or takes or writes_index:
            require_ours(settings, database, header)
        provider = None if header.sandbox or not takes else provider_for(settings, header.payment)
        priced = stack.enter_context(priced_takes(settings, database, header.id, provider, takes, work.gated))
        quote = quote_review(database, header, work, priced)
        if provider is not None:
            check_funds(database, header.account_pk, provider, quote.amount)
        if quote.amount and not header.sandbox and not confirm(quote):
            raise SpendRefused("not confirmed: nothing was changed or sent", hint="say yes with --yes")
        with database.begin() as connection:
            _carry_out(connection, header, decisions, work, quote)
        bought, fault = _buy_all(settings, header, priced, progress)
        worked = [header.id] if work.answers.sets_free or writes_index else []
        _work(settings, database, [*worked, *bought], progress)
        if fault is not None:
            raise fault
        return _document(database, header, work, [*stored, *bought])


def exit_code(document: dict[str, Any]) -> int:
    """The worst of the batches that were worked."""
    worked = [*([document["reviewed"]] if document["worked"] else []), *document["take_batches"]]
    return max((running.exit_code(batch) for batch in worked), default=0)


def _look(database: Database, decisions: Decisions | None, findings: Findings) -> tuple[BatchHeader, ReviewWork]:
    """The batch that is meant and what is to be done. Raises ManifestError with every fault of the file."""
    header = work = None
    if decisions is not None:
        with database.begin() as connection:
            if reads.is_batch(connection, decisions.batch):
                header = reads.batch_header(connection, decisions.batch)
                work = work_of(decisions, _standing(connection, decisions.batch), findings)
            else:
                message = f"there is no batch `{decisions.batch}` in this database"
                findings.error(Code.UNKNOWN_BATCH, decisions.batch_node, message, "batch")
    if findings.errors or header is None or work is None:
        raise _invalid(findings)
    return header, work


def _standing(connection: Connection, batch_id: str) -> UnderReview:
    jobs = reviews.reviewable_jobs(connection, batch_id)
    origins = [job.origin_pk for job in jobs]
    return UnderReview(
        jobs=jobs,
        verdicts=reviews.verdicts(connection, origins),
        take_keys=reviews.take_keys(connection, origins),
        waiting=answering.waiting_for_canaries(connection, batch_id),
    )


def _invalid(findings: Findings) -> ManifestError:
    errors = in_order(findings.errors)
    document: dict[str, object] = {"valid": False, "errors": [error.document() for error in errors], "warnings": []}
    count = f"{len(errors)} error{'' if len(errors) == 1 else 's'}"
    return ManifestError(f"{findings.file} has {count}; nothing was changed", document=document, only_money=False)


def _takes_left(
    database: Database, header: BatchHeader, work: ReviewWork
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The takes that are still to be bought, by submit key, and the batches of those that were bought before."""
    account_pk = None if header.sandbox else header.account_pk
    with database.begin() as connection:
        stored = {key: batches.batch_of_key(connection, account_pk, key) for key in work.takes}
    left = {key: names for key, names in work.takes.items() if stored[key] is None}
    return left, [batch_id for batch_id in stored.values() if batch_id is not None]


def _carry_out(
    connection: Connection, header: BatchHeader, decisions: Decisions | None, work: ReviewWork, quote: ReviewQuote
) -> None:
    """Write everything down at once, before a take is bought: a process that dies then leaves what it was to buy.

    Raises SpendRefused where the batch is not any more what the price was told for.
    """
    assert decisions is not None
    batches.lock_batch(connection, header.id)
    if work_of(decisions, _standing(connection, header.id), Findings("")) != work:
        raise SpendRefused("the batch has moved on meanwhile; nothing was changed or sent", hint="apply it again")
    if work.answers.sets_free:
        now = answering.price_of(connection, header.id, work.answers)
        if now.freed_credits + now.by_itself > quote.freed:
            raise SpendRefused("the prices have risen meanwhile; nothing was changed or sent", hint="apply it again")
    if not reviews.record_reviews(connection, work.new):
        raise SpendRefused("someone else decided meanwhile; nothing was changed or sent", hint="apply it again")
    if any(review.decision is not Decision.TAKE for review in work.new):
        reviews.write_index_anew(connection, header.id)
    if work.answers.sets_free or work.answers.closed:
        answering.give(connection, header.id, work.answers)


def _buy_all(
    settings: Settings, header: BatchHeader, priced: Sequence[PricedTakes], progress: Progress | None
) -> tuple[list[str], OrchestratorError | None]:
    """The batches of these takes, stored before anything is worked, which may take hours; and the first fault, where
    not all of them could be stored.
    """
    stored, first = [], None
    for each in priced:
        try:
            stored.append(_buy(settings, header, each, progress))
        except Interrupted:
            raise
        except OrchestratorError as fault:
            log.warning("other takes of %s are not bought yet: %s", named(each.names), fault.message)
            first = first or fault
    return stored, first


def _buy(settings: Settings, header: BatchHeader, takes: PricedTakes, progress: Progress | None) -> str:
    """Submit takes under their key, for whoever works batches (a sandbox batch is worked here and now): beside what
    else of the collection runs, since they are all that is bought. Returns their batch.
    """

    def still_agreed(bought: Plan) -> bool:
        if bought.amount > takes.estimate:
            raise SpendRefused(
                f"the takes cost {canonical(bought.amount)} now; the decisions are kept, and these were not bought",
                hint="apply the file again",
            )
        return True

    options = SubmitOptions(
        sandbox=header.sandbox,
        detach=not header.sandbox,
        alongside=True,
        key=takes.key,
        again=True,
        again_jobs=takes.names,
    )
    document = submit(takes.file, settings, options, confirm=still_agreed, progress=progress)
    return str(document["batch"])


def _work(settings: Settings, database: Database, batch_ids: Sequence[str], progress: Progress | None) -> None:
    with database.begin() as connection:
        headers = [reads.batch_header(connection, batch_id) for batch_id in batch_ids]
    run_here(settings, database, [header for header in headers if header.is_open], progress)


def _document(database: Database, header: BatchHeader, work: ReviewWork, take_batches: Sequence[str]) -> dict[str, Any]:
    wanted = dict.fromkeys([header.id, *take_batches])
    read = patiently(database, lambda connection: {each: reads.batch_document(connection, each) for each in wanted})
    return {
        "batch": header.id,
        "decisions": {
            "accepted": work.accepted,
            "rejected": work.rejected,
            "takes": sum(len(names) for names in work.takes.values()),
            "unchanged": work.unchanged,
        },
        "worked": work.answers.sets_free,
        "reviewed": read[header.id],
        "take_batches": [read[batch_id] for batch_id in take_batches],
    }
