"""`resume` and `work`: take up what is unfinished, held or paused."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from orchestrator.base.errors import SpendRefused
from orchestrator.base.settings import Settings
from orchestrator.base.states import ENDED_BATCHES
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import Provider, own_sandbox, real_provider, require_same_payer
from orchestrator.operations.running import Progress, run_batches
from orchestrator.store import batches, claims, reads
from orchestrator.store.database import Database
from orchestrator.store.reads import BatchHeader

#: Asked with the batches to take up and the credits that may still be spent on them: whether to go on.
ConfirmResume = Callable[[list[str], Decimal], bool]


def resume(
    reference: str | None, settings: Settings, *, confirm: ConfirmResume, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Take up one batch, or every open one, and return their documents.

    With no broker they are worked in this process until nothing of them runs; with one they are left to the
    workers. Raises UsageError, SpendRefused, Unusable (a batch of another provider or account), Interrupted.
    """
    with open_database(settings) as database:
        headers = _open_headers(database, reference)
        movable = [header for header in headers if header.state not in ENDED_BATCHES]
        real = [header for header in movable if not header.sandbox]
        provider = _checked_provider(settings, real)
        unsent = sum((header.unsent_credits for header in real), Decimal(0))
        if unsent and not confirm([header.id for header in real], unsent):
            raise SpendRefused("not confirmed: nothing was sent", hint="say yes with --yes")
        with database.begin() as connection:
            for header in movable:
                batches.resume_batch(connection, header.id)
        if provider is not None and settings.broker_url is None:
            for account_pk in {header.account_pk for header in real}:
                ids = tuple(header.id for header in real if header.account_pk == account_pk)
                run_batches(settings, database, provider, account_pk, ids, progress)
        for header in movable:
            if header.sandbox:
                _run_sandbox(settings, database, header, progress)
        with database.begin() as connection:
            return [reads.batch_document(connection, header.id) for header in headers]


def _open_headers(database: Database, reference: str | None) -> list[BatchHeader]:
    with database.begin() as connection:
        ids = reads.open_batches(connection) if reference is None else [batches.find_batch(connection, reference)]
        return [reads.batch_header(connection, batch_id) for batch_id in ids]


def _checked_provider(settings: Settings, headers: list[BatchHeader]) -> Provider | None:
    if not headers:
        return None
    provider = real_provider(settings)
    for header in headers:
        require_same_payer(provider, batch_id=header.id, origin=header.origin, account=header.account)
    return provider


def _run_sandbox(settings: Settings, database: Database, header: BatchHeader, progress: Progress | None) -> None:
    with database.begin() as connection:
        catalog = batches.batch_catalog(connection, header.id)
    with own_sandbox(settings, header.id, catalog) as provider:
        run_batches(settings, database, provider, header.account_pk, (header.id,), progress)


def work(settings: Settings) -> None:
    """Work all batches of the account in this process, without Celery, until a signal stops it."""
    provider = real_provider(settings)
    with open_database(settings) as database:
        with database.begin() as connection:
            account_pk = claims.account_pk(connection, provider.origin, provider.account)
        run_batches(settings, database, provider, account_pk, None)
