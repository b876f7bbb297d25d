"""What `doctor` finds about clocks: leases and deadlines go by the database's, proofs and signatures by ours."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from orchestrator.base.settings import Settings
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.operations.check import Check, Health
from orchestrator.payments.payers import configured_payments
from orchestrator.store import reads
from orchestrator.store.database import Database

#: Wallet proofs are put right from here on, and signatures for S3 are refused after 15 minutes.
_TOLERABLE = timedelta(seconds=30)


def database_clock(database: Database) -> Check:
    """The database's clock against this machine's."""
    asked_at = datetime.now(UTC)
    with database.begin() as connection:
        told = datetime.fromisoformat(reads.now(connection))
    return _compared("the database's clock", told - asked_at)


def provider_clock(settings: Settings) -> Iterator[Check]:
    """The provider's clock, by the `Date` of an answer that needs no credentials; nothing where it does not tell."""
    if not configured_payments(settings):
        return
    ahead = asyncio.run(_provider_ahead(settings.katana_base_url))
    if ahead is not None:
        yield _compared("the provider's clock", ahead)


async def _provider_ahead(base_url: str) -> timedelta | None:
    async with KatanaClient(base_url, {}) as client:
        with suppress(ProviderUnavailable):  # a refusal has its date, too; an outage is for another check to tell
            await client.models()
        return client.provider_ahead


def _compared(whose: str, ahead: timedelta) -> Check:
    if abs(ahead) <= _TOLERABLE:
        return Check("clock", Health.OK, f"{whose} and this machine's agree")
    seconds = round(ahead.total_seconds())
    direction = "behind" if seconds > 0 else "ahead of"
    return Check(
        "clock", Health.WARN, f"this machine's clock is {abs(seconds)} s {direction} {whose.removesuffix(' clock')}",
        "set the clocks by NTP: proofs, signatures and schedules go by them",
    )  # fmt: skip
