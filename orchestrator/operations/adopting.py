"""`adopt`: take a paid request that was made elsewhere under care, in a batch of its own."""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.keys import DEFAULT_TEMPLATE
from orchestrator.base.errors import SpendRefused, Unusable, UsageError
from orchestrator.base.money import ZERO
from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.engine.foreign import ForeignItem, read_items
from orchestrator.katana.wire import Answer
from orchestrator.operations.asking import ask_about
from orchestrator.operations.catalogue import current_catalogue
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import Provider, media_uri, provider_for
from orchestrator.operations.recovering import require_known_receipts
from orchestrator.operations.running import Progress, run_batches
from orchestrator.receipts.book import ReceiptBook
from orchestrator.receipts.receipt import Order, OrderedBatch, OrderedJob, Receipt
from orchestrator.store import adopting, creating, reads, recovery
from orchestrator.store.database import Database

log = logging.getLogger("orchestrator.operations")

#: Asked with the number of jobs and the credits that were or will be charged for them: whether to go on.
ConfirmAdoption = Callable[[int, Decimal], bool]
#: The collection that adopted requests go to.
DEFAULT_NAME = "adopted"
_REQUEST_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_NAME = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)


def adopt(
    request_id: str,
    settings: Settings,
    *,
    name: str = DEFAULT_NAME,
    confirm: ConfirmAdoption,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Poll a request of the API key's account, fetch what it made, and keep its books; returns its batch's document.

    Buys nothing. With no broker it is worked in this process until it ends; with one it is left to the workers.
    Raises UsageError for what is no request id, for one that is ours already and for one that the provider does
    not know; SpendRefused, Unusable, Interrupted.
    """
    _require_words(request_id, name)
    provider = provider_for(settings, Payment.CREDITS)
    destination = open_destination(settings.destination)
    with open_database(settings) as database:
        require_known_receipts(settings, database, provider)
        with database.begin() as connection:
            account_pk = provider.account_pk(connection)
        _require_foreign(database, account_pk, request_id)
        answer = ask_about(provider, request_id)
        items, catalog = _items(answer, settings)
        if not items:
            raise Unusable(f"the provider does not say what the request {request_id} is for", hint="try again later")
        if not confirm(len(items), sum((item.price for item in items), ZERO)):
            raise SpendRefused("not confirmed: nothing was adopted", hint="say yes with --yes")
        destination.probe()
        with database.begin() as connection:
            batch_id = creating.new_batch_id(connection, name)
        batch = _batch(batch_id, name, settings, destination, catalog, items)
        receipt = _receipt(request_id, provider, batch, items, answer)
        _store(settings, database, account_pk, receipt, catalog)
        if settings.broker_url is None:
            run_batches(settings, database, provider, account_pk, (batch_id,), progress)
        return patiently(database, lambda connection: reads.batch_document(connection, batch_id))


def _require_words(request_id: str, name: str) -> None:
    if not _REQUEST_ID.fullmatch(request_id):
        raise UsageError(
            f"{request_id!r} is no request id",
            hint="it looks like 0f3f0ab9-2d2c-4d99-a7cc-76cf82735246; the provider's web history shows it",
        )
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a collection", hint="use a-z, 0-9 and -, at most 64 of them")


def _require_foreign(database: Database, account_pk: int, request_id: str) -> None:
    """Raises UsageError where the request is ours already; one that is ours and in doubt has a better way."""
    with database.begin() as connection:
        holder = recovery.holder_of(connection, account_pk, request_id)
        in_doubt = recovery.in_doubt_since(connection, account_pk)
    if holder is not None:
        raise UsageError(f"the request {request_id} is ours already: {holder}", hint="orchestrator status shows it")
    if in_doubt:
        log.warning(
            "jobs of ours are in doubt; if %s is one of them, do not adopt it: orchestrator resolve BATCH --job ID "
            "--request-id %s",
            request_id,
            request_id,
        )


def _items(answer: Answer, settings: Settings) -> tuple[list[ForeignItem], Catalog]:
    """What the request is for, by the catalogue in use, or by the provider's own where that does not know a model:
    answers call models by keys that the guide does not list.
    """
    catalog = load_catalog(settings.home)
    items = read_items(answer, catalog)
    if all(item.model in catalog.models for item in items):
        return items, catalog
    try:
        catalog = current_catalogue(settings)
    except Unusable as error:
        log.warning("%s; models keep the names that the provider calls them by", error.message)
    return read_items(answer, catalog), catalog


def _batch(
    batch_id: str, name: str, settings: Settings, destination: Destination, catalog: Catalog, items: list[ForeignItem]
) -> OrderedBatch:
    return OrderedBatch(
        id=batch_id,
        name=name,
        destination=destination.describe(),
        media=media_uri(settings, destination.describe()),
        key=DEFAULT_TEMPLATE,
        bundle=len(items),
        labels={},
        manifest="",
        catalog_digest=catalog.digest,
        estimated=sum((item.price for item in items), ZERO),
        usd_per_credit=settings.usd_per_credit,
        created_at=datetime.now(UTC),
    )


def _receipt(
    request_id: str, provider: Provider, batch: OrderedBatch, items: list[ForeignItem], answer: Answer
) -> Receipt:
    """The request as if it had been an order of ours, sent when the provider says that it was made."""
    now = datetime.now(UTC)
    order = Order(
        submission_id=uuid4(),
        origin=provider.origin,
        account=provider.account,
        body_sha256=None,
        sent_at=min(answer.created_at or now, now),
        reserved=batch.estimated,
        batch=batch,
        jobs=tuple(
            OrderedJob(
                position=position,
                ordinal=position,
                name=f"{request_id[:8]}-{position}",
                type=item.type,
                model=item.model,
                labels=item.labels,
                estimate=item.price,
                price=item.price,
                item=item.item,
            )
            for position, item in enumerate(items)
        ),
    )
    return Receipt(at=now, request_id=request_id, order=order)


def _store(settings: Settings, database: Database, account_pk: int, receipt: Receipt, catalog: Catalog) -> None:
    """Its receipt first, like that of any paid request. Raises UsageError where another process was quicker."""
    order = receipt.order
    ReceiptBook(settings.home, order.origin, order.account).write(receipt)
    with database.begin() as connection:
        adopted = adopting.adopt(connection, account_pk, receipt, catalog)
    if adopted is None:
        _require_foreign(database, account_pk, str(receipt.request_id))
