"""One receipt: what became of which order, and all it takes to make the order's rows again.

No secret is in it, no signature, and no media: items name them by content hash, as the store keeps them.
"""

from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator

from orchestrator.base.payments import Network, Payment
from orchestrator.catalog.models import Amount


class _Part(BaseModel):
    """Reads the receipts of newer releases too: what it does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


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
    price_tolerance: Amount | None = None
    canary: int | None = None
    stop_when_failed_over: Amount | None = None
    payment: Payment = Payment.CREDITS
    work_credits: Amount | None = None
    created_at: AwareDatetime


class OrderedJob(_Part):
    """A job at its place in the request. `price` is what was reserved for it, `agreed` what it was planned or approved
    at where that is its share of a quote, `item` as the store has it.

    By its `fingerprint` a later batch knows that it is bought: a medium in the item no longer tells which job made it.
    """

    position: int
    ordinal: int
    name: str
    type: str
    model: str
    labels: dict[str, str]
    estimate: Amount
    work_credits: Amount | None = None
    price: Amount
    agreed: Amount | None = None
    item: dict[str, Any]
    fingerprint: str | None = None
    row: dict[str, Any] | None = None
    gate: str | None = None


class OrderedPayment(_Part):
    """The signed payment of an order, as far as it may be known: by this it is found on chain, and never without its
    signature made anew.
    """

    network: Network
    payer: str
    pay_to: str
    asset: str
    amount: Amount
    nonce: str
    valid_before: AwareDatetime | None = None
    last_valid_height: int | None = None
    after_slot: int | None = None


class TopUpReceipt(_Part):
    """A top-up of a wallet's balance that is about to be sent; `is_told`: that it was credited was reported."""

    id: UUID
    created_at: AwareDatetime
    credited: Amount
    payment: OrderedPayment
    is_told: bool = False


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
    payment: OrderedPayment | None = None


class Word(StrEnum):
    """What a receipt says of its order."""

    #: It is about to leave: from here on it may be charged, unless a later receipt says otherwise.
    SENT = "sent"
    #: The provider took it as a request.
    ACCEPTED = "accepted"
    #: It was surely not charged.
    NOT_CHARGED = "not_charged"


class Receipt(_Part):
    """What became of an order. `at` is when an acceptance arrived; else when the order was sent, so that what was sent
    and that it was not charged are filed under one day, in this order.
    """

    at: AwareDatetime
    says: Word = Word.ACCEPTED
    request_id: str | None = None
    order: Order

    @classmethod
    def sent(cls, order: Order) -> Self:
        """Write it before the first byte leaves."""
        return cls(at=order.sent_at, says=Word.SENT, order=order)

    @classmethod
    def not_charged(cls, order: Order) -> Self:
        return cls(at=order.sent_at, says=Word.NOT_CHARGED, order=order)

    @model_validator(mode="after")
    def _acceptance_names_its_request(self) -> Self:
        if (self.says is Word.ACCEPTED) != (self.request_id is not None):
            raise ValueError("an acceptance, and nothing else, names a request")
        return self

    def line(self) -> bytes:
        """The receipt as one line of JSON, without its line break."""
        return self.model_dump_json().encode()
