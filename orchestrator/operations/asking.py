"""What the provider says of a request id that a person names: asked, for free, before anything rests on it."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.base.errors import SpendRefused, Unusable, UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.models import Catalog
from orchestrator.engine.foreign import contradiction
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.wire import Answer
from orchestrator.operations.opening import Provider, key_settings, own_sandbox, provider_for, require_same_payer
from orchestrator.store.reads import BatchHeader

log = logging.getLogger("orchestrator.operations")


def ask_about(provider: Provider, request_id: str) -> Answer:
    """One poll. Raises UsageError where the provider does not know the request, Unusable where it cannot be asked."""
    return asyncio.run(_ask(provider, request_id))


async def _ask(provider: Provider, request_id: str) -> Answer:
    async with provider.client() as client:
        try:
            return (await client.poll(request_id)).answer
        except ProviderUnavailable as error:
            keys = key_settings(provider.payment)
            if error.status == 404:
                raise UsageError(
                    f"{provider.base_url} does not know the request {request_id}",
                    hint=f"is it of another account ({keys}), or older than the 72 hours that results are kept?",
                ) from None
            refused = error.status in (401, 402, 403)
            hint = f"check {keys}" if refused else "check KATANA_BASE_URL and the network"
            raise Unusable(f"{provider.base_url} cannot be asked ({error.reason})", hint=hint) from None


def is_told(
    settings: Settings, header: BatchHeader, catalog: Catalog, request_id: str, items: Sequence[dict[str, Any]]
) -> bool:
    """Whether the provider knows a request that is to be of these items of a batch.

    False, with a warning, where it cannot be asked now, or not with the keys at hand: that must not keep a person from
    saying what it is. Raises UsageError where it does not know the request, and where it says that it is another's.
    """
    try:
        with _provider_of(settings, header, catalog) as provider:
            answer = ask_about(provider, request_id)
    except (SpendRefused, Unusable) as error:
        log.warning(
            "%s: the request %s is taken as you say, unchecked; while the provider has told nothing of it, it can be "
            "resolved again",
            error.message,
            request_id,
        )
        return False
    if (why := contradiction(answer, items, catalog)) is not None:
        raise UsageError(
            f"the request {request_id} is another's: {why}", hint="the provider's web history shows what it received"
        )
    return True


@contextmanager
def _provider_of(settings: Settings, header: BatchHeader, catalog: Catalog) -> Iterator[Provider]:
    if header.sandbox:
        with own_sandbox(settings, header.id, catalog, header.payment) as provider:
            yield provider
        return
    provider = provider_for(settings, header.payment)
    require_same_payer(provider, batch_id=header.id, origin=header.origin, account=header.account)
    yield provider
