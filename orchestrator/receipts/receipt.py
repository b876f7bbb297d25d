"""One receipt: which request answered which order, and all it takes to make the order's rows again.

No secret is in it, and no media: items name them by content hash, as the store keeps them.
"""

from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from orchestrator.catalog.models import Amount


class _Part(BaseModel):
    """Reads the receipts of newer releases too: what it does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class OrderedBatch(_Part):
    """The batch of an order; shares are fractions, 0.05 for 5 %."""

    id: str
    name: str
    destination: str
    media: str
    key: str
    bundle: int
    labels: dict[str, str]
    manifest: str
    catalog_digest: str
    estimated: Amount
    budget: Amount | None = None
    usd_per_credit: Amount
    price_tolerance: Amount = Decimal(0)
    canary: int | None = None
    stop_when_failed_over: Amount | None = None
    created_at: AwareDatetime


class OrderedJob(_Part):
    """A job at its place in the request. `price` is what was reserved for it, `item` as the store has it."""

    position: int
    ordinal: int
    name: str
    type: str
    model: str
    labels: dict[str, str]
    estimate: Amount
    price: Amount
    item: dict[str, Any]


class Order(_Part):
    """One submission, as it stood when it was sent."""

    submission_id: UUID
    origin: str
    account: str
    body_sha256: str | None
    sent_at: AwareDatetime
    reserved: Amount
    batch: OrderedBatch
    jobs: tuple[OrderedJob, ...]


class Receipt(_Part):
    """The provider's acceptance of an order, at the instant when its answer arrived."""

    at: AwareDatetime
    request_id: str
    order: Order

    def line(self) -> bytes:
        """The receipt as one line of JSON, without its line break."""
        return self.model_dump_json().encode()
