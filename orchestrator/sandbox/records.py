"""What the sandbox remembers: one record per fact, as it lies in the journal.

Instants are Unix seconds. They are fixed when a request is accepted, so that every status, refund and expiry is a
function of these records and the time alone.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter

from orchestrator.base.money import canonical, parse_amount
from orchestrator.base.payments import Network

Amount = Annotated[Decimal, BeforeValidator(parse_amount), PlainSerializer(canonical, return_type=str)]
MediaType = Literal["image", "video"]
Outcome = Literal["completed", "failed", "rejected"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemError(_Record):
    """Why an item was rejected or failed, in the provider's words."""

    code: str
    message: str


class Output(_Record):
    """What a completed item delivers: pixels of the original, and seconds and sound for a video."""

    width: int
    height: int
    format: str
    duration_seconds: float | None = None
    has_audio: bool = False


class Job(_Record):
    """One item of a request, and how it will end.

    `credits` is its price, which was charged at acceptance; where it was paid in USDC, `usdc` was charged instead.
    """

    job_id: str
    item: dict[str, object]
    type: MediaType | None
    model: str
    prompt: str
    outcome: Outcome
    credits: Amount
    usdc: Amount | None = None
    output: Output | None = None
    error: ItemError | None = None
    started_at: float
    finished_at: float
    expires_at: float


class StateOpened(_Record):
    """The first line of a journal: the key that signs asset URLs, so that they outlive a restart."""

    kind: Literal["opened"] = "opened"
    at: float
    url_key: str


class AccountSeen(_Record):
    """An account's first appearance, with the credits that it starts with."""

    kind: Literal["account"] = "account"
    at: float
    account: str
    opening_balance: Amount


class ToppedUp(_Record):
    """Credits that someone put into an account."""

    kind: Literal["top-up"] = "top-up"
    at: float
    account: str
    credits: Amount


class PostReceived(_Record):
    """A POST that carried credentials or a payment arrived, whatever became of it."""

    kind: Literal["post"] = "post"
    at: float
    body_sha256: str
    body_bytes: int


class QuoteOffered(_Record):
    """A POST without credentials was told what it would cost: atomic USDC by network."""

    kind: Literal["offer"] = "offer"
    at: float
    path: str
    body_sha256: str
    amounts: dict[Network, int]


class Settlement(_Record):
    """USDC that moved to the provider on a virtual chain, at an instant that may lie ahead; `amount` is atomic.

    `nonce` is the authorization's (Base) or the owner's signature (Solana); `raw` is Solana's whole transaction.
    """

    at: float
    network: Network
    payer: str
    amount: int
    nonce: str
    transaction: str
    path: str
    body_sha256: str
    creates_account: bool = False
    raw: str | None = None


class PaymentSettled(_Record):
    """A payment that opened no generation request: a top-up with what it `credited`, or money for nothing."""

    kind: Literal["payment"] = "payment"
    at: float
    payment: Settlement
    credited: Amount | None = None


class Charged(_Record):
    """A charge that is no generation request's: a completion of text. Whoever paid directly has a `payment`."""

    kind: Literal["charge"] = "charge"
    at: float
    charge_id: str
    account: str
    amount: Amount
    model: str
    prompt: str
    body_sha256: str
    payment: Settlement | None = None


class Refunded(_Record):
    """Part of a charge that was given back."""

    kind: Literal["refund"] = "refund"
    at: float
    charge_id: str
    amount: Amount


class RequestAccepted(_Record):
    """A POST was answered with a request id and its valid items were charged, or paid by a payment of its own."""

    kind: Literal["request"] = "request"
    at: float
    request_id: str
    account: str
    body_sha256: str
    poll_after_seconds: float
    jobs: tuple[Job, ...]
    payment: Settlement | None = None


Record = (
    StateOpened
    | AccountSeen
    | ToppedUp
    | PostReceived
    | QuoteOffered
    | PaymentSettled
    | Charged
    | Refunded
    | RequestAccepted
)

RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
"""Reads a journal line back into its record."""
