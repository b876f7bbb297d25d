"""`submit`: plan, check everything that can be checked for free, store, and run."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.assets.destination import open_destination
from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.settings import Settings
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.operations.account import check_funds
from orchestrator.operations.budgeting import check_caps
from orchestrator.operations.comparing import bring_here, compare_plan, find_shelf
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import Provider, media_uri, own_sandbox, provider_for
from orchestrator.operations.planning import plan, require_valid
from orchestrator.operations.recovering import require_known_receipts
from orchestrator.operations.running import Progress, run_batches
from orchestrator.operations.storing import Order, SecondRun, store
from orchestrator.operations.terms import Terms, terms_of, with_told
from orchestrator.payments.payers import configured_payments
from orchestrator.planner.compare import Comparison
from orchestrator.planner.result import Plan
from orchestrator.store import batches, creating, reads
from orchestrator.store.database import Database
from orchestrator.store.slots import SLOT_KEYS

__all__ = ["Announce", "Confirm", "SecondRun", "SubmitOptions", "submit"]

#: Asked once the price is known: whether to go on.
Confirm = Callable[[Plan], bool]
#: Told how the valid plan compares with its collection, before anything is asked or stored.
Announce = Callable[[Comparison], None]
#: Told who would pay whom, and how much at most, before anybody is asked; not where credits pay.
TellTerms = Callable[[Terms], None]
_NOTHING_DONE = "; nothing was stored or sent"


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How to submit; see interface "Commands".

    `again`: buy what the collection has already, all of it or only the jobs named in `again_jobs`.
    `key`: a name for this call; with the same one again, the same batch, which then goes on if it was broken off.
    `beside_held`, for the slots of schedules: only a batch of the collection that still moves by itself is in the way;
    what one that is held has not sent is left to this one.
    `usual_credits`: a batch of more than `UNUSUAL_TIMES` as much is stored, and held until it is approved.
    """

    sandbox: bool = False
    detach: bool = False
    alongside: bool = False
    max_credits: Decimal | None = None
    canary: int | None = None
    key: str | None = None
    again: bool = False
    again_jobs: tuple[str, ...] = ()
    beside_held: bool = False
    usual_credits: Decimal | None = None


def submit(
    manifest: Path,
    settings: Settings,
    options: SubmitOptions = SubmitOptions(),
    *,
    confirm: Confirm,
    announce: Announce | None = None,
    tell_terms: TellTerms | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Submit a manifest or a saved plan; returns the batch's document when it ended, is held, or is left to workers.

    What the collection has already is not bought again. Nothing is stored or sent unless all of the manifest is valid
    and what is bought fits the budget, `confirm` says yes, and destination, credentials and balance were found good.
    A sandbox batch spends nothing, so `confirm` is not asked; nor is it where nothing is bought. Raises
    ManifestError, UsageError, SpendRefused, Unusable, and Interrupted after a clean stop.
    """
    _require_possible(options)
    planned = plan(manifest, settings, max_credits=options.max_credits, canary=options.canary)
    if not _may_fit(planned, settings, options):
        require_valid(planned, _NOTHING_DONE)
    again = _bought_again(planned, options)
    provider = None if options.sandbox else provider_for(settings, planned.payment)
    destination = open_destination(planned.destination or settings.destination)
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        if provider is not None:
            require_known_receipts(settings, database, provider)
        first_id = _submitted_before(database, provider, options.key)
        if first_id is not None:
            if _runs_here(settings, options):
                _go_on(settings, database, provider, first_id, progress)
            return _document(database, first_id)
        shelf = find_shelf(database, planned, provider)
        comparison = compare_plan(database, planned, shelf, destination.describe(), again=again)
        bought = comparison.bought()
        require_valid(bought, _NOTHING_DONE)
        if announce is not None:
            announce(comparison)
        if provider is not None and bought.jobs:
            _agree_on_price(database, bought, provider, tell_terms, confirm)
        destination.probe()
        batch_id = _new_batch_id(database, planned)
        if provider is None:
            provider = stack.enter_context(own_sandbox(settings, batch_id, planned.catalog, planned.payment))
        account_pk = _account_pk(database, provider)
        if bought.jobs:
            check_funds(database, account_pk, provider, bought.amount)
        order = Order(
            comparison=comparison,
            shelf=shelf,
            batch_id=batch_id,
            account_pk=account_pk,
            destination=destination,
            media=media_uri(settings, destination.describe()),
            moved=bring_here(database, comparison, destination),
            sandbox=options.sandbox,
            alongside=options.alongside,
            beside_held=options.beside_held,
            key=options.key,
            usual_credits=options.usual_credits,
        )
        batch_id = store(database, order)
        if _runs_here(settings, options) or not bought.jobs:
            run_batches(settings, database, provider, account_pk, (batch_id,), progress)
        return _document(database, batch_id)


def _require_possible(options: SubmitOptions) -> None:
    """Raises UsageError for options that do not go together."""
    if options.sandbox and options.detach:
        raise UsageError(
            "--sandbox brings its own provider along, so it cannot be detached",
            hint="run `orchestrator sandbox` and set KATANA_BASE_URL to it instead",
        )
    if options.key is not None and options.key.startswith(SLOT_KEYS) and not options.beside_held:
        raise UsageError(
            f"keys that begin with {SLOT_KEYS} are for the slots of schedules", hint="choose another --key"
        )


def _may_fit(planned: Plan, settings: Settings, options: SubmitOptions) -> bool:
    """Whether a plan over its budget may be within it once what its collection has is known."""
    is_somebody = options.sandbox or planned.payment in configured_payments(settings)
    return planned.only_over_budget and is_somebody


def _bought_again(planned: Plan, options: SubmitOptions) -> tuple[str, ...] | None:
    """The ids of the jobs to be bought whatever there is; None for all. Raises UsageError for one that is not there."""
    if options.again_jobs and not options.again:
        raise UsageError("--job names what is bought again, and --again is not given", hint="add --again")
    known = {job.id for job in planned.jobs}
    for job_id in options.again_jobs:
        if job_id not in known:
            raise UsageError(f"{planned.file} has no job {job_id!r}{did_you_mean(job_id, sorted(known))}")
    return None if options.again and not options.again_jobs else options.again_jobs


def _submitted_before(database: Database, provider: Provider | None, key: str | None) -> str | None:
    """The batch that the account (None: a sandbox) has submitted under this key already."""
    if key is None:
        return None
    with database.begin() as connection:
        account_pk = None if provider is None else provider.account_pk(connection)
        return batches.batch_of_key(connection, account_pk, key)


def _go_on(
    settings: Settings, database: Database, provider: Provider | None, batch_id: str, progress: Progress | None
) -> None:
    """Work a batch that was submitted before, if anything of it is left: who did that may have died since."""
    with database.begin() as connection:
        header = reads.batch_header(connection, batch_id)
        catalog = creating.batch_catalog(connection, batch_id)
    if header.is_open:
        with ExitStack() as stack:
            payer = provider or stack.enter_context(own_sandbox(settings, batch_id, catalog, header.payment))
            run_batches(settings, database, payer, header.account_pk, (batch_id,), progress)


def _agree_on_price(
    database: Database, bought: Plan, provider: Provider, tell_terms: TellTerms | None, confirm: Confirm
) -> None:
    """Raises SpendRefused where the price of what is bought passes a cap of the account, or nobody says yes to it."""
    with database.begin() as connection:
        check_caps(connection, provider.account_pk(connection), bought.amount, bought.usd_per_unit)
    with database.begin() as connection:
        terms = terms_of(connection, provider, bought)
    if tell_terms is not None and terms is not None:
        tell_terms(with_told(terms, provider))
    if not confirm(bought):
        raise SpendRefused("not confirmed: nothing was stored or sent", hint="say yes with --yes")


def _new_batch_id(database: Database, planned: Plan) -> str:
    with database.begin() as connection:
        return creating.new_batch_id(connection, str(planned.name))


def _account_pk(database: Database, provider: Provider) -> int:
    with database.begin() as connection:
        return provider.account_pk(connection)


def _document(database: Database, batch_id: str) -> dict[str, Any]:
    return patiently(database, partial(reads.batch_document, batch_id=batch_id))


def _runs_here(settings: Settings, options: SubmitOptions) -> bool:
    return options.sandbox or not (options.detach or settings.broker_url)
