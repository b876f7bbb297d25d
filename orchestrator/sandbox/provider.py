"""The provider without HTTP: takes submissions, charges them, and answers for what it has accepted."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_UP, Decimal

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import ATOMIC, from_atomic
from orchestrator.catalog.models import Catalog
from orchestrator.sandbox import x402
from orchestrator.sandbox.accounts import Accounts
from orchestrator.sandbox.answers import Answers
from orchestrator.sandbox.asset_urls import AssetUrls
from orchestrator.sandbox.book import Book
from orchestrator.sandbox.cashier import Cashier, Purchase, Ways
from orchestrator.sandbox.customers import Customer, is_polled_freely, unit_of
from orchestrator.sandbox.faults import FaultPlayer
from orchestrator.sandbox.intake import Pace, accept
from orchestrator.sandbox.judge import Judge, Judgement
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.records import Charged, PostReceived, Refunded, RequestAccepted, Settlement, ToppedUp


@dataclass(slots=True)
class Counters:
    """What callers did since the start that leaves no trace in the journal."""

    polls: int = 0
    auth_failures: int = 0
    asset_downloads: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What something costs an account of either unit; `usd` without the cost of a settlement."""

    credits: Decimal
    usd: Decimal

    def of(self, customer: Customer) -> Decimal:
        """In the unit of that customer's account."""
        return self.credits if customer.unit == "credits" else self.usd


@dataclass(frozen=True, slots=True)
class Provider:
    """Everything that the HTTP handlers share. `clock` gives Unix seconds."""

    catalog: Catalog
    book: Book
    accounts: Accounts
    opening_balance: Decimal
    pace: Pace
    urls: AssetUrls
    faults: FaultPlayer
    clock: Callable[[], float]
    counters: Counters = field(default_factory=Counters)
    ways: Ways = field(default_factory=Ways)
    #: The USDC that each wallet has here at first sight, before any top-up.
    opening_usdc: Decimal = ZERO

    @property
    def judge(self) -> Judge:
        return Judge(self.catalog, self.urls.origin)

    @property
    def cashier(self) -> Cashier:
        return Cashier(self.book, self.clock, self.ways)

    def answer(self, request: RequestAccepted) -> dict[str, object]:
        """The body that describes a request as it stands now."""
        return Answers(self.catalog, self.urls).request(request, self.clock())

    def note_post(self, body: bytes) -> None:
        """Writes down that a POST arrived which somebody would pay for."""
        self.book.record(PostReceived(at=self.clock(), body_sha256=digest(body), body_bytes=len(body)))

    def submit(
        self,
        customer: Customer,
        verdicts: list[Judgement],
        body_sha256: str,
        *,
        payment: Settlement | None = None,
        fail_every_second: bool = False,
    ) -> RequestAccepted:
        """Charges the valid items, or takes them as paid by `payment`, and accepts the request, in one record.

        Raises Problem 402, with nothing charged, when the balance does not cover all of them.
        """
        if payment is None:
            self.require(customer, total(verdicts))
        usdc = None
        if customer.unit == "usdc":
            usdc = [verdict.usd for verdict in verdicts] if payment is None else _shares(verdicts, payment)
        request = accept(
            verdicts,
            account=customer.account,
            body_sha256=body_sha256,
            now=self.clock(),
            pace=self.pace,
            fail_every_second=fail_every_second,
            usdc=usdc,
            payment=payment,
        )
        self.book.record(request)
        return request

    def require(self, customer: Customer, price: Price) -> None:
        """Raises Problem 402 where a balance does not cover a price: for a wallet with what it must be topped up by."""
        cost, balance = price.of(customer), self.balance(customer)
        if cost <= balance:
            return
        if customer.network is None:
            raise Problem(
                402,
                "insufficient_credits",
                f"sandbox: {canonical(cost)} credits needed, {canonical(balance)} available",
            )
        shortfall = cost - balance
        amounts = self.cashier.amounts(shortfall, [customer.network])
        requirement = x402.payment_required(amounts, shortfall, f"top up {canonical(shortfall)} USDC")
        raise Problem(
            402,
            "insufficient_wallet_balance",
            f"sandbox: {canonical(cost)} USDC needed, {canonical(balance)} available",
            {"PAYMENT-REQUIRED": x402.header(requirement)},
        )

    def charge(
        self,
        customer: Customer,
        price: Price,
        *,
        model: str,
        prompt: str,
        body_sha256: str,
        payment: Settlement | None = None,
    ) -> Charged:
        """Takes the price of something that is no generation request, from the balance or as paid by `payment`.

        Raises Problem 402 as `require` does. Any part of it can be given back with `refund`.
        """
        if payment is None:
            self.require(customer, price)
        charge = Charged(
            at=self.clock(),
            charge_id=str(uuid.uuid4()),
            account=customer.account,
            amount=price.of(customer) if payment is None else from_atomic(payment.amount),
            model=model,
            prompt=prompt,
            body_sha256=body_sha256,
            payment=payment,
        )
        self.book.record(charge)
        return charge

    def refund(self, charge: Charged, amount: Decimal) -> None:
        """Gives part of a charge back, in the unit of its account."""
        self.book.record(Refunded(at=self.clock(), charge_id=charge.charge_id, amount=amount))

    def find(self, request_id: str, customer: Customer | None) -> RequestAccepted:
        """The request, for its account; the id alone opens one that was paid in USDC. Raises Problem 401 or 404."""
        request = self.book.request(request_id)
        if request is None:
            raise Problem(404, "not_found", "no such generation request")
        if is_polled_freely(request.account):
            return request
        if customer is None:
            self.counters.auth_failures += 1
            raise Problem(401, "unauthorized", "sandbox: credentials are required")
        if request.account != customer.account:
            raise Problem(404, "not_found", "no such generation request")
        return request

    def balance(self, customer: Customer) -> Decimal:
        """What the account has now, in its unit; one that appears for the first time is opened."""
        now = self.clock()
        if customer.unit == "credits":
            self.book.ensure_account(customer.account, self.opening_balance, now)
        elif customer.is_wallet and self.opening_usdc:
            self.book.ensure_account(customer.account, self.opening_usdc, now)
        return self.book.balance(customer.account, now)

    def top_up(self, account: str, credit_amount: Decimal) -> None:
        """Puts credits into an account, which is opened where it is new. Raises Problem 400 for a wallet's."""
        if unit_of(account) != "credits":
            raise Problem(400, "invalid_top_up", "sandbox: a wallet tops its balance up with a payment")
        now = self.clock()
        self.book.ensure_account(account, self.opening_balance, now)
        self.book.record(ToppedUp(at=now, account=account, credits=credit_amount))


def digest(body: bytes) -> str:
    """The SHA-256 by which a body is known."""
    return hashlib.sha256(body).hexdigest()


def purchase(path: str, body: bytes, price: Price) -> Purchase:
    """What the cashier is to quote or to take."""
    return Purchase(path, digest(body), price.usd)


def total(verdicts: Sequence[Judgement]) -> Price:
    """The price of all valid items."""
    return Price(sum((verdict.credits for verdict in verdicts), ZERO), sum((verdict.usd for verdict in verdicts), ZERO))


def repriced(verdicts: Sequence[Judgement], factor: Decimal) -> list[Judgement]:
    """The verdicts at `factor` times the catalogue's prices. Credits have one decimal place, USDC has six."""
    return [
        replace(verdict, credits=_to_a_tenth(verdict.credits * factor), usd=repriced_usd(verdict.usd, factor))
        for verdict in verdicts
    ]


def repriced_usd(usd: Decimal, factor: Decimal) -> Decimal:
    """An amount of USDC, `factor` times."""
    return (usd * factor).quantize(ATOMIC, ROUND_UP)


def _shares(verdicts: Sequence[Judgement], payment: Settlement) -> list[Decimal]:
    """What each item has of a payment: its price, and like the others a part of the settlement's cost."""
    paying = sum(verdict.error is None for verdict in verdicts)
    gas = from_atomic(payment.amount) - total(verdicts).usd
    share = (gas / paying).quantize(ATOMIC, ROUND_UP) if paying else ZERO
    shares = []
    for verdict in verdicts:
        part = min(share, gas) if verdict.error is None else ZERO
        gas -= part
        shares.append(verdict.usd + part)
    return shares


def _to_a_tenth(credit_amount: Decimal) -> Decimal:
    """Credits have one decimal place (guide, "Credits / API key examples")."""
    return credit_amount.quantize(Decimal("0.1"), ROUND_UP)
