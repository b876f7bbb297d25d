"""`resume` and `work`: take up what is unfinished, held or paused."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial
from typing import Any

from orchestrator.base.errors import Interrupted, SpendRefused, Unusable, UsageError
from orchestrator.base.heartbeats import Heartbeats, Loop
from orchestrator.base.money import ZERO
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import (
    Provider,
    configured_providers,
    own_sandbox,
    provider_for,
    require_same_payer,
)
from orchestrator.operations.recovering import require_known_receipts
from orchestrator.operations.running import Duty, Progress, run_batches, run_duties
from orchestrator.operations.ticking import ticking
from orchestrator.store import batches, creating, reads
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database
from orchestrator.store.reads import BatchHeader

log = logging.getLogger("orchestrator.operations")

#: Asked with the batches to take up and what may still be spent on them, by unit: whether to go on.
ConfirmResume = Callable[[list[str], Mapping[Unit, Decimal]], bool]


def resume(
    reference: str | None, settings: Settings, *, confirm: ConfirmResume, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Take up one batch, or every open one, and return their documents.

    With no broker they are worked in this process until nothing of them runs; with one they are left to the
    workers. A batch of another provider or account is refused where it is named, else left alone. Raises UsageError,
    SpendRefused, Unusable, Interrupted.
    """
    with open_database(settings) as database:
        headers = _ours(settings, _headers(settings, database, reference), is_named=reference is not None)
        movable = [header for header in headers if header.is_open]
        real = [header for header in movable if not header.sandbox]
        if real:
            require_known_receipts(settings, database)
        unsent: dict[Unit, Decimal] = {}
        for header in real:
            unit = header.payment.unit
            unsent[unit] = unsent.get(unit, ZERO) + header.unsent_credits
        if any(unsent.values()) and not confirm([header.id for header in real], unsent):
            raise SpendRefused("not confirmed: nothing was sent", hint="say yes with --yes")
        for header in movable:
            with database.begin() as connection:
                batches.resume_batch(connection, header.id, forgive=reference is not None)
        run_here(settings, database, movable, progress)
        return patiently(database, lambda connection: [reads.batch_document(connection, h.id) for h in headers])


def run_here(settings: Settings, database: Database, headers: Sequence[BatchHeader], progress: Progress | None) -> None:
    """Work batches of ours in this process until nothing of them runs; with a broker, leave all but sandboxes to it."""
    by_payment: dict[Payment, list[BatchHeader]] = defaultdict(list)
    for header in headers:
        if not header.sandbox:
            by_payment[header.payment].append(header)
    if by_payment and settings.broker_url is None:  # those that are paid alike are of one account, ours
        duties = [_duty(settings, payment, alike) for payment, alike in by_payment.items()]
        run_duties(settings, database, duties, progress)
    for header in headers:
        if header.sandbox:
            _run_sandbox(settings, database, header, progress)


def _duty(settings: Settings, payment: Payment, headers: Sequence[BatchHeader]) -> Duty:
    scope = Scope(headers[0].account_pk, tuple(header.id for header in headers))
    return Duty(provider_for(settings, payment), scope)


def _headers(settings: Settings, database: Database, reference: str | None) -> list[BatchHeader]:
    """The batch that is meant, or all open ones; a backup that was put back may lack some that were paid for."""
    if reference is None:
        require_known_receipts(settings, database)
    try:
        with database.begin() as connection:
            ids = reads.open_batches(connection) if reference is None else [batches.find_batch(connection, reference)]
            return [reads.batch_header(connection, batch_id) for batch_id in ids]
    except UsageError:
        require_known_receipts(settings, database)
        raise


def _ours(settings: Settings, headers: list[BatchHeader], *, is_named: bool) -> list[BatchHeader]:
    """Without the batches that someone else pays for. Raises Unusable for a named one, or without any credentials."""
    if any(header.is_open and not header.sandbox for header in headers) and not is_named:
        configured_providers(settings)
    ours = []
    for header in headers:
        if not header.sandbox and header.is_open:
            try:
                _require_payer(settings, header)
            except Unusable as error:
                if is_named:
                    raise
                log.warning("%s; it is left alone", error.message)
                continue
        ours.append(header)
    return ours


def require_ours(settings: Settings, database: Database, header: BatchHeader) -> None:
    """Raises Unusable without the key that pays for the batch, where someone else does, and where the database does
    not know all that was paid: nothing is sent then, so nothing is to be made ready for it. A sandbox is anyone's.
    """
    if not header.sandbox:
        require_known_receipts(settings, database, _require_payer(settings, header))


def _require_payer(settings: Settings, header: BatchHeader) -> Provider:
    """The provider of a batch. Raises Unusable without the key that pays for it, or where someone else does."""
    provider = provider_for(settings, header.payment)
    require_same_payer(provider, batch_id=header.id, origin=header.origin, account=header.account)
    return provider


def _run_sandbox(settings: Settings, database: Database, header: BatchHeader, progress: Progress | None) -> None:
    with database.begin() as connection:
        catalog = creating.batch_catalog(connection, header.id)
    with own_sandbox(settings, header.id, catalog, header.payment) as provider:
        run_batches(settings, database, provider, header.account_pk, (header.id,), progress)


def work(settings: Settings) -> None:
    """Work all batches of all accounts that there are keys for in this process, and run their schedules, without
    Celery, until a signal stops it: its normal end. Raises Unusable without any key.
    """
    from orchestrator.operations.monitoring import Monitor  # for a worker alone: metrics take a while to load

    providers = configured_providers(settings)
    with open_database(settings) as database:
        with database.begin() as connection:
            duties = [Duty(provider, Scope(provider.account_pk(connection))) for provider in providers]
        heartbeats = Heartbeats()
        monitor = Monitor(settings, database, heartbeats)
        beat = partial(heartbeats.beat, Loop.TICKER)
        with closing(monitor), ticking(settings, database, *(duty.scope.account_pk for duty in duties), beat=beat):
            monitor.start()
            with suppress(Interrupted):
                run_duties(settings, database, duties, monitor=monitor)
