"""Takes USDC: tells what a purchase costs, and settles the payments for it on the virtual chains.

A payment is judged and booked without a pause between (all callers are on the sandbox's one loop), so that of two
with one nonce only the first is taken.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.base.payments import Network
from orchestrator.sandbox import x402
from orchestrator.sandbox.book import Book
from orchestrator.sandbox.chains import BLOCKHASH_BLOCKS, RECIPIENTS, block_at, block_digest, block_time
from orchestrator.sandbox.payment import InvalidPayment, Payment
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.records import QuoteOffered, Settlement
from orchestrator.sandbox.settlements import Paid

_ALL = tuple(RECIPIENTS)


class Ways(BaseModel):
    """What the guide leaves open, one way or the other; set with `POST /sandbox/x402`.

    `replays`: a settled payment that comes again with its own body gets the answer of then, or a 402. `memos`: whether
    a Solana transaction may carry one.
    """

    model_config = ConfigDict(extra="forbid")

    replays: Literal["original", "refused"] = "original"
    memos: Literal["accepted", "refused"] = "accepted"


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is to be paid for: the body of a POST, and its price in USDC before the settlement's cost."""

    path: str
    body_sha256: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Cashier:
    """Quotes and settles. `clock` gives Unix seconds."""

    book: Book
    clock: Callable[[], float]
    ways: Ways

    def amounts(self, usd: Decimal, networks: Collection[Network] = _ALL) -> dict[Network, int]:
        """What a payment for work of that price must move now, in atomic USDC by network."""
        there = self.book.settlements.has_token_account(self.clock())
        return {network: x402.price_atomic(usd, network, has_token_account=there) for network in networks}

    def offer(self, purchase: Purchase) -> x402.Document:
        """The requirement for a purchase; it holds for an hour, and that it was told is written down."""
        amounts = self.amounts(purchase.usd)
        offer = QuoteOffered(at=self.clock(), path=purchase.path, body_sha256=purchase.body_sha256, amounts=amounts)
        self.book.record(offer)
        return x402.payment_required(amounts, purchase.usd)

    def earlier(self, payment: Payment) -> Paid | None:
        """What a payment with that nonce has paid for already, None for a new one."""
        return self.book.settlements.find(payment.network, payment.payer, payment.nonce)

    def replayed(self, payment: Payment, purchase: Purchase) -> Paid | None:
        """The purchase that this very call has made before, None for a new payment. Raises Problem 402.

        The guide says that payments are not to be used again; what a repeated call gets, it leaves open.
        """
        earlier = self.earlier(payment)
        if earlier is None:
            return None
        first = earlier.payment
        same = (first.path, first.body_sha256) == (purchase.path, purchase.body_sha256)
        if self.ways.replays == "original" and same and earlier.purpose != "nothing":
            return earlier
        raise self.refusal(purchase, "this payment has been used already")

    def settle(self, payment: Payment, purchase: Purchase, *, late_by: float = 0.0, exact: bool = False) -> Settlement:
        """The settlement of a new payment, for the caller to write down. Raises Problem 402 where it cannot be taken.

        It lands in `late_by` seconds, or as late as it can. `exact`: only the price of now is taken, whatever was
        offered before.
        """
        now = self.clock()
        try:
            self._check(payment, purchase, now, exact=exact)
        except InvalidPayment as invalid:
            raise self.refusal(purchase, invalid.reason) from None
        return Settlement(
            at=max(now, min(now + late_by, _latest(payment, now))),
            network=payment.network,
            payer=payment.payer,
            amount=payment.amount,
            nonce=payment.nonce,
            transaction=payment.transaction,
            path=purchase.path,
            body_sha256=purchase.body_sha256,
            creates_account=payment.creates_account != "no",
            raw=payment.raw,
        )

    def refusal(self, purchase: Purchase, reason: str) -> Problem:
        """A 402 that says what is wrong with a payment, and what would be right."""
        requirement = x402.payment_required(self.amounts(purchase.usd), purchase.usd, reason)
        return Problem(402, "invalid_payment", f"sandbox: {reason}", {"PAYMENT-REQUIRED": x402.header(requirement)})

    def _check(self, payment: Payment, purchase: Purchase, now: float, *, exact: bool) -> None:
        asked = {self.amounts(purchase.usd)[payment.network]}
        if not exact:
            since = now - x402.QUOTE_SECONDS
            asked |= self.book.settlements.offered(purchase.path, purchase.body_sha256, payment.network, since)
        if payment.amount not in asked:
            raise InvalidPayment(f"{payment.amount} was paid where {' or '.join(map(str, sorted(asked)))} is asked")
        if payment.amount > self.book.settlements.funds(payment.network, payment.payer):
            raise InvalidPayment("the payer has not that much USDC")
        if payment.valid_after is not None and payment.valid_after > now:
            raise InvalidPayment("the authorization is not valid yet")
        if payment.valid_before is not None and payment.valid_before <= now:
            raise InvalidPayment("the authorization has expired")
        if payment.network is Network.SOLANA:
            self._check_transaction(payment, now)

    def _check_transaction(self, payment: Payment, now: float) -> None:
        if _blockhash_number(payment, now) is None:
            raise InvalidPayment("BlockhashNotFound: the transaction's blockhash is unknown or too old")
        exists = self.book.settlements.has_token_account(now)
        if not exists and payment.creates_account == "no":
            raise InvalidPayment("the recipient's token account does not exist, and the transaction does not create it")
        if exists and payment.creates_account == "create":
            raise InvalidPayment("the recipient's token account exists already")
        if payment.has_memo and self.ways.memos == "refused":
            raise InvalidPayment("a memo is not taken")


def _latest(payment: Payment, now: float) -> float:
    """The last instant at which a payment that is good now can settle."""
    if payment.valid_before is not None:
        return payment.valid_before - 1.0
    return block_time(Network.SOLANA, (_blockhash_number(payment, now) or 0) + BLOCKHASH_BLOCKS)


def _blockhash_number(payment: Payment, now: float) -> int | None:
    """Which of the recent blocks a transaction names, None for none of them."""
    newest = block_at(Network.SOLANA, now)
    recent = range(newest, max(0, newest - BLOCKHASH_BLOCKS) - 1, -1)
    return next((number for number in recent if block_digest(Network.SOLANA, number) == payment.blockhash), None)
