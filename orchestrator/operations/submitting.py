"""`submit`: plan, check everything that can be checked for free, store, and run."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.media import MediaStore
from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.money import canonical
from orchestrator.base.settings import Settings
from orchestrator.operations.account import check_funds
from orchestrator.operations.budgeting import check_caps
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import Provider, media_uri, own_sandbox, real_provider
from orchestrator.operations.planning import plan, require_valid
from orchestrator.operations.recovering import require_known_receipts
from orchestrator.operations.running import Progress, run_batches
from orchestrator.planner.result import Plan
from orchestrator.store import accounts, batches, creating, reads, settling
from orchestrator.store.database import Connection, Database, OutOfReach

log = logging.getLogger("orchestrator.operations")

#: Asked once the price is known: whether to go on.
Confirm = Callable[[Plan], bool]
#: Told the valid plan, before anything is asked or stored.
Announce = Callable[[Plan], None]

#: A run that costs so many times as much as usual needs a person's word.
UNUSUAL_TIMES = 3


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How to submit; see interface "Commands".

    `beside_held`: only a batch of the collection that still moves by itself is in the way, not one that is held.
    `usual_credits`: a batch of more than `UNUSUAL_TIMES` as much is stored, and held until it is approved.
    """

    sandbox: bool = False
    detach: bool = False
    alongside: bool = False
    max_credits: Decimal | None = None
    canary: int | None = None
    key: str | None = None
    beside_held: bool = False
    usual_credits: Decimal | None = None


class SecondRun(SpendRefused):
    """Another batch of the collection is in the way."""


def submit(
    manifest: Path,
    settings: Settings,
    options: SubmitOptions = SubmitOptions(),
    *,
    confirm: Confirm,
    announce: Announce | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Submit a manifest or a saved plan; returns the batch's document when it ended, is held, or is left to workers.

    Nothing is stored or sent unless all of it is valid and fits the budget, `confirm` says yes, and
    destination, credentials and balance were found good. A sandbox batch spends nothing, so `confirm` is not
    asked; `announce` gets the valid plan of either kind. Raises ManifestError, SpendRefused, Unusable, and
    Interrupted after a clean stop.
    """
    if options.sandbox and options.detach:
        raise UsageError(
            "--sandbox brings its own provider along, so it cannot be detached",
            hint="run `orchestrator sandbox` and set KATANA_BASE_URL to it instead",
        )
    planned = plan(manifest, settings, max_credits=options.max_credits, canary=options.canary)
    require_valid(planned, "; nothing was stored or sent")
    if announce is not None:
        announce(planned)
    provider = None if options.sandbox else real_provider(settings)
    destination = open_destination(planned.destination or settings.destination)
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        if provider is not None:
            require_known_receipts(settings, database, provider)
            first_id = _submitted_before(database, provider, options.key)
            if first_id is not None:
                return patiently(database, partial(reads.batch_document, batch_id=first_id))
            _look_before_buying(database, planned, provider)
            if not confirm(planned):
                raise SpendRefused("not confirmed: nothing was stored or sent", hint="say yes with --yes")
        destination.probe()
        with database.begin() as connection:
            batch_id = creating.new_batch_id(connection, str(planned.name))
        if provider is None:
            provider = stack.enter_context(own_sandbox(settings, batch_id, planned.catalog))
        with database.begin() as connection:
            account_pk = accounts.account_pk(connection, provider.origin, provider.account)
        check_funds(database, account_pk, provider, planned.estimate)
        batch_id = _store(database, planned, settings, account_pk, destination, batch_id, options)
        if _runs_here(settings, options):
            run_batches(settings, database, provider, account_pk, (batch_id,), progress)
        return patiently(database, lambda connection: reads.batch_document(connection, batch_id))


def _submitted_before(database: Database, provider: Provider, key: str | None) -> str | None:
    """The batch that the account has submitted under this key already."""
    if key is None:
        return None
    with database.begin() as connection:
        account_pk = accounts.account_pk(connection, provider.origin, provider.account)
        return batches.batch_of_key(connection, account_pk, key)


def _look_before_buying(database: Database, planned: Plan, provider: Provider) -> None:
    """Warns of jobs that are bought again. Raises SpendRefused where the estimate passes a cap of the account."""
    with database.begin() as connection:
        account_pk = accounts.account_pk(connection, provider.origin, provider.account)
        check_caps(connection, account_pk, planned.estimate, planned.usd_per_credit)
        stored = reads.stored_jobs_of(connection, str(planned.name), account_pk)
    again = sum(job.id in stored for job in planned.jobs)
    if again:
        log.warning("%s already has %s of these %s jobs; this buys them again", planned.name, again, len(planned.jobs))


def _runs_here(settings: Settings, options: SubmitOptions) -> bool:
    return options.sandbox or not (options.detach or settings.broker_url)


def _store(
    database: Database,
    planned: Plan,
    settings: Settings,
    account_pk: int,
    destination: Destination,
    batch_id: str,
    options: SubmitOptions,
) -> str:
    """Keep the input media, then write the batch with all its jobs in one transaction; returns its id.

    That is another one's where someone was quicker with the same key.
    """
    media = media_uri(settings, destination.describe())
    _keep_media(planned, media)
    batch = _new_batch(planned, batch_id, account_pk, destination, media, options)
    try:
        with database.begin() as connection:
            return _create(connection, batch, options)
    except OutOfReach:  # perhaps between COMMIT and its answer, and then workers may already buy it
        if not _was_stored(database, batch):
            raise
        return batch.id


def _create(connection: Connection, batch: creating.NewBatch, options: SubmitOptions) -> str:
    accounts.lock_account(connection, batch.account_pk)
    if batch.submit_key is not None:
        first_id = batches.batch_of_key(connection, batch.account_pk, batch.submit_key)
        if first_id is not None:
            return first_id
    if reads.is_batch(connection, batch.id):
        raise SpendRefused(f"{batch.id} was just taken by another run; nothing was stored or sent", hint="submit again")
    in_the_way = settling.moving_batch_of if options.beside_held else batches.open_batch_of
    still_open = in_the_way(connection, batch.name, batch.account_pk)
    if still_open is not None and not options.alongside:
        raise SecondRun(
            f"{still_open} of the same collection can still move; a second run would buy its jobs again",
            hint=f"go on with it: orchestrator resume {still_open}; or run a second one: --alongside",
        )
    creating.create_batch(connection, batch)
    return batch.id


def _was_stored(database: Database, batch: creating.NewBatch) -> bool:
    """Whether a transaction whose end was not seen stored the batch. Raises OutOfReach where nobody can tell."""
    try:
        return patiently(database, partial(reads.was_stored, batch_id=batch.id, account_pk=batch.account_pk))
    except OutOfReach as error:
        raise OutOfReach(
            f"{error.message}; whether {batch.id} was stored is not known",
            hint=f"before you submit again: orchestrator status {batch.id}",
        ) from None


def _keep_media(planned: Plan, media: str) -> None:
    store = MediaStore(open_destination(media))
    for blob in planned.media.values():
        if blob.path is not None:
            store.put_file(blob.sha256, blob.path)
        elif blob.data is not None:
            store.put_bytes(blob.sha256, blob.data)


def _new_batch(
    planned: Plan, batch_id: str, account_pk: int, destination: Destination, media: str, options: SubmitOptions
) -> creating.NewBatch:
    return creating.NewBatch(
        id=batch_id,
        name=str(planned.name),
        sandbox=options.sandbox,
        account_pk=account_pk,
        destination=destination.describe(),
        media=media,
        key=planned.key,
        bundle=planned.bundle,
        labels=planned.labels,
        manifest=str(Path(planned.file).absolute()),
        catalog=planned.catalog,
        estimated=planned.estimate,
        budget=planned.budget,
        usd_per_credit=planned.usd_per_credit,
        jobs=planned.jobs,
        price_tolerance=planned.price_tolerance,
        canary=planned.canary,
        stop_when_failed_over=planned.stop_when_failed_over,
        submit_key=options.key,
        unusual=_unusual(planned.estimate, options.usual_credits),
    )


def _unusual(new: Decimal, usual: Decimal | None) -> str | None:
    """Why so much new work is to be looked at first; None where it is as usual, or nobody can tell."""
    if usual is None or new <= UNUSUAL_TIMES * usual:
        return None
    return f"{canonical(new)} credits of new work, over {UNUSUAL_TIMES} times the usual {canonical(usual)} credits a run"
