"""`resume` and `work`: take up what is unfinished, held or paused."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from orchestrator.base.errors import Interrupted, SpendRefused, Unusable, UsageError
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import Provider, own_sandbox, real_provider, require_same_payer
from orchestrator.operations.recovering import require_known_receipts
from orchestrator.operations.running import Progress, run_batches
from orchestrator.operations.ticking import ticking
from orchestrator.store import accounts, batches, creating, reads
from orchestrator.store.database import Database
from orchestrator.store.reads import BatchHeader

log = logging.getLogger("orchestrator.operations")

#: Asked with the batches to take up and the credits that may still be spent on them: whether to go on.
ConfirmResume = Callable[[list[str], Decimal], bool]


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
        unsent = sum((header.unsent_credits for header in real), Decimal(0))
        if unsent and not confirm([header.id for header in real], unsent):
            raise SpendRefused("not confirmed: nothing was sent", hint="say yes with --yes")
        for header in movable:
            with database.begin() as connection:
                batches.resume_batch(connection, header.id, forgive=reference is not None)
        run_here(settings, database, movable, progress)
        return patiently(database, lambda connection: [reads.batch_document(connection, h.id) for h in headers])


def run_here(settings: Settings, database: Database, headers: Sequence[BatchHeader], progress: Progress | None) -> None:
    """Work batches of ours in this process until nothing of them runs; with a broker, leave all but sandboxes to it."""
    real = [header for header in headers if not header.sandbox]
    if real and settings.broker_url is None:  # they are of one account, ours
        ids = tuple(header.id for header in real)
        run_batches(settings, database, real_provider(settings), real[0].account_pk, ids, progress)
    for header in headers:
        if header.sandbox:
            _run_sandbox(settings, database, header, progress)


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
    """Without the batches that someone else pays for. Raises Unusable for a named one, or without credentials."""
    ours = []
    for header in headers:
        if not header.sandbox and header.is_open:
            provider = real_provider(settings)
            try:
                _require_payer(provider, header)
            except Unusable as error:
                if is_named:
                    raise
                log.warning("%s; it is left alone", error.message)
                continue
        ours.append(header)
    return ours


def require_ours(settings: Settings, header: BatchHeader) -> None:
    """Raises Unusable without credentials, or where someone else pays for the batch. A sandbox is anyone's."""
    if not header.sandbox:
        _require_payer(real_provider(settings), header)


def _require_payer(provider: Provider, header: BatchHeader) -> None:
    require_same_payer(provider, batch_id=header.id, origin=header.origin, account=header.account)


def _run_sandbox(settings: Settings, database: Database, header: BatchHeader, progress: Progress | None) -> None:
    with database.begin() as connection:
        catalog = creating.batch_catalog(connection, header.id)
    with own_sandbox(settings, header.id, catalog) as provider:
        run_batches(settings, database, provider, header.account_pk, (header.id,), progress)


def work(settings: Settings) -> None:
    """Work all batches of the account in this process, and run its schedules, without Celery, until a signal stops
    it: its normal end.
    """
    provider = real_provider(settings)
    with open_database(settings) as database:
        with database.begin() as connection:
            account_pk = accounts.account_pk(connection, provider.origin, provider.account)
        with ticking(settings, database, account_pk), suppress(Interrupted):
            run_batches(settings, database, provider, account_pk, None)
