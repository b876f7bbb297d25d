"""The provider without HTTP: takes submissions, charges them, and answers for what it has accepted."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import ROUND_UP, Decimal

from orchestrator.base.money import canonical
from orchestrator.catalog.models import Catalog
from orchestrator.sandbox.accounts import Accounts
from orchestrator.sandbox.answers import Answers
from orchestrator.sandbox.asset_urls import AssetUrls
from orchestrator.sandbox.book import Book
from orchestrator.sandbox.faults import FaultPlayer
from orchestrator.sandbox.intake import Pace, accept
from orchestrator.sandbox.judge import Judge, Verdict
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.records import PostReceived, RequestAccepted, ToppedUp


@dataclass(slots=True)
class Counters:
    """What callers did since the start that leaves no trace in the journal."""

    polls: int = 0
    auth_failures: int = 0
    asset_downloads: int = 0


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

    @property
    def judge(self) -> Judge:
        return Judge(self.catalog, self.urls.origin)

    def answer(self, request: RequestAccepted) -> dict[str, object]:
        """The body that describes a request as it stands now."""
        return Answers(self.catalog, self.urls).request(request, self.clock())

    def note_post(self, body: bytes) -> str:
        """Writes down that a POST arrived; returns the SHA-256 of its body."""
        digest = hashlib.sha256(body).hexdigest()
        self.book.record(PostReceived(at=self.clock(), body_sha256=digest, body_bytes=len(body)))
        return digest

    def submit(
        self,
        account: str,
        verdicts: list[Verdict],
        body_sha256: str,
        *,
        fail_every_second: bool = False,
        price_factor: Decimal = Decimal(1),
    ) -> RequestAccepted:
        """Charges the valid items `price_factor` times the catalogue's price and accepts the request, in one record.

        Raises Problem 402, with nothing charged, when the balance does not cover all of them.
        """
        verdicts = [replace(verdict, credits=_to_a_tenth(verdict.credits * price_factor)) for verdict in verdicts]
        cost = sum((verdict.credits for verdict in verdicts), Decimal(0))
        balance = self.balance(account)
        if cost > balance:
            raise Problem(
                402,
                "insufficient_credits",
                f"sandbox: {canonical(cost)} credits needed, {canonical(balance)} available",
            )
        request = accept(
            verdicts,
            account=account,
            body_sha256=body_sha256,
            now=self.clock(),
            pace=self.pace,
            fail_every_second=fail_every_second,
        )
        self.book.record(request)
        return request

    def find(self, request_id: str, account: str) -> RequestAccepted:
        """The account's request. Raises Problem 404 for an unknown one and for another account's."""
        request = self.book.request(request_id)
        if request is None or request.account != account:
            raise Problem(404, "not_found", "no such generation request")
        return request

    def balance(self, account: str) -> Decimal:
        """The account's credits now; an account that appears for the first time is opened."""
        now = self.clock()
        self.book.ensure_account(account, self.opening_balance, now)
        return self.book.balance(account, now)

    def top_up(self, account: str, credit_amount: Decimal) -> None:
        """Puts credits into an account, which is opened where it is new."""
        now = self.clock()
        self.book.ensure_account(account, self.opening_balance, now)
        self.book.record(ToppedUp(at=now, account=account, credits=credit_amount))


def _to_a_tenth(credit_amount: Decimal) -> Decimal:
    """Credits have one decimal place (guide, "Credits / API key examples")."""
    return credit_amount.quantize(Decimal("0.1"), ROUND_UP)
