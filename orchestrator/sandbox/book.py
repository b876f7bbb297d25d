"""The sandbox's books: accounts, requests and all that was charged or refunded, derived from the journal's records.

Nothing here moves by itself: refunds and statuses are computed from the records for the instant that is asked about.
"""

import heapq
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from orchestrator.base.money import ZERO
from orchestrator.sandbox.customers import Unit, unit_of, wallet
from orchestrator.sandbox.journal import Journal
from orchestrator.sandbox.records import (
    AccountSeen,
    Charged,
    Job,
    PaymentSettled,
    PostReceived,
    QuoteOffered,
    Record,
    Refunded,
    RequestAccepted,
    StateOpened,
    ToppedUp,
)
from orchestrator.sandbox.settlements import Paid, Settlements


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of an account, in credits or in USDC; both are positive for a charge and for a refund.

    `request_id` and `job_id` of a completion of text are the charge's id.
    """

    at: float
    kind: Literal["charge", "refund"]
    request_id: str
    job_id: str
    account: str
    model: str
    prompt: str
    credits: Decimal
    usdc: Decimal = ZERO

    @property
    def amount(self) -> Decimal:
        """What moved, in the account's unit."""
        return self.credits or self.usdc


class Book:
    """All facts in memory, each one written to the journal first. Safe to read from any thread."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._lock = threading.Lock()
        self.settlements = Settlements()
        self._funds: dict[str, Decimal] = {}  # opening balance and top-ups, less every charge; in the account's unit
        self._refunds: dict[str, list[Job]] = {}  # the failed jobs, whose credits come back at their end
        self._requests: dict[str, RequestAccepted] = {}
        self._jobs: dict[str, Job] = {}
        self._charges: dict[str, Charged] = {}
        self._given_back: list[Refunded] = []
        self._posts: list[PostReceived] = []
        self._ends: list[float] = []  # heap: when each job in flight ends
        self._max_in_flight = 0
        self.url_key = ""

    def open(self, now: float, new_url_key: str) -> None:
        """Replays the journal; a new one gets `new_url_key`."""
        for record in self._journal.open():
            self._apply(record)
        if not self.url_key:
            self.record(StateOpened(at=now, url_key=new_url_key))

    def close(self) -> None:
        self._journal.close()

    def record(self, record: Record) -> None:
        """Writes a fact down and takes it in."""
        with self._lock:
            self._journal.append(record)
            self._apply(record)

    def ensure_account(self, account: str, opening_balance: Decimal, now: float) -> None:
        """Opens `account` with its starting credits, unless it is known."""
        if account not in self._funds:
            self.record(AccountSeen(at=now, account=account, opening_balance=opening_balance))

    def request(self, request_id: str) -> RequestAccepted | None:
        return self._requests.get(request_id)

    def job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def charge(self, charge_id: str) -> Charged | None:
        return self._charges.get(charge_id)

    def requests(self) -> list[RequestAccepted]:
        """All accepted requests, oldest first."""
        with self._lock:
            return list(self._requests.values())

    def posts(self) -> list[PostReceived]:
        """All POSTs that arrived with credentials or a payment, oldest first."""
        with self._lock:
            return list(self._posts)

    def entries(self, now: float) -> list[Entry]:
        """Every charge and refund up to `now`, in order of time."""
        found = [entry for request in self.requests() for entry in _entries(request, now)]
        with self._lock:
            found += [_charge_entry(charge) for charge in self._charges.values()]
            found += [_refund_entry(refund, self._charges[refund.charge_id]) for refund in self._given_back]
        return sorted(found, key=lambda entry: entry.at)

    def balances(self, now: float, unit: Unit = "credits") -> dict[str, Decimal]:
        """What each account of that unit has at `now`."""
        with self._lock:
            accounts = [account for account in self._funds if unit_of(account) == unit]
        return {account: self.balance(account, now) for account in accounts}

    def balance(self, account: str, now: float) -> Decimal:
        """What one account has at `now`, in its unit; nothing for one that was never seen."""
        with self._lock:
            refunds = [_price(job) for job in self._refunds.get(account, ()) if job.finished_at <= now]
            return sum(refunds, self._funds.get(account, ZERO))

    def in_flight(self, now: float) -> int:
        """Jobs accepted and not yet at their end."""
        with self._lock:
            return sum(end > now for end in self._ends)

    @property
    def max_in_flight(self) -> int:
        """The most jobs that were ever in flight at once, over the whole journal."""
        return self._max_in_flight

    def _apply(self, record: Record) -> None:
        match record:
            case StateOpened():
                self.url_key = record.url_key
            case AccountSeen():
                self._funds[record.account] = record.opening_balance
            case ToppedUp():
                self._funds[record.account] += record.credits
            case PostReceived():
                self._posts.append(record)
            case QuoteOffered():
                self.settlements.take_offer(record)
            case PaymentSettled():
                self._take_payment(record)
            case Charged():
                self._take_charge(record)
            case Refunded():
                self._given_back.append(record)
                self._add(self._charges[record.charge_id].account, record.amount)
            case RequestAccepted():
                self._take_request(record)

    def _take_payment(self, record: PaymentSettled) -> None:
        payment = record.payment
        self.settlements.take(Paid(payment, credited=record.credited))
        if record.credited is not None:
            self._add(wallet(payment.network, payment.payer).account, record.credited)

    def _take_charge(self, charge: Charged) -> None:
        self._charges[charge.charge_id] = charge
        if charge.payment is None:
            self._add(charge.account, -charge.amount)
        else:
            self.settlements.take(Paid(charge.payment, charge_id=charge.charge_id))

    def _take_request(self, request: RequestAccepted) -> None:
        self._requests[request.request_id] = request
        if request.payment is not None:
            self.settlements.take(Paid(request.payment, request_id=request.request_id))
        while self._ends and self._ends[0] <= request.at:
            heapq.heappop(self._ends)
        for job in request.jobs:
            self._jobs[job.job_id] = job
            if job.outcome == "rejected":
                continue
            heapq.heappush(self._ends, job.finished_at)
            if request.payment is None:
                self._add(request.account, -_price(job))
            if _is_refunded(request, job):
                self._refunds.setdefault(request.account, []).append(job)
        self._max_in_flight = max(self._max_in_flight, len(self._ends))

    def _add(self, account: str, amount: Decimal) -> None:
        self._funds[account] = self._funds.get(account, ZERO) + amount


def _entries(request: RequestAccepted, now: float) -> list[Entry]:
    found: list[Entry] = []
    for job in request.jobs:
        if job.outcome == "rejected":
            continue
        found.append(_entry("charge", request.at, request, job))
        if _is_refunded(request, job) and job.finished_at <= now:
            found.append(_entry("refund", job.finished_at, request, job))
    return found


def _is_refunded(request: RequestAccepted, job: Job) -> bool:
    """Failed items are given back to the balance they were taken from; of a payment of its own nothing says so."""
    return job.outcome == "failed" and request.payment is None


def _price(job: Job) -> Decimal:
    """What an item was charged with, in its account's unit."""
    return job.credits if job.usdc is None else job.usdc


def _entry(kind: Literal["charge", "refund"], at: float, request: RequestAccepted, job: Job) -> Entry:
    credit_amount, usdc = (job.credits, ZERO) if job.usdc is None else (ZERO, job.usdc)
    return Entry(at, kind, request.request_id, job.job_id, request.account, job.model, job.prompt, credit_amount, usdc)


def _charge_entry(charge: Charged) -> Entry:
    return _text_entry("charge", charge.at, charge, charge.amount)


def _refund_entry(refund: Refunded, charge: Charged) -> Entry:
    return _text_entry("refund", refund.at, charge, refund.amount)


def _text_entry(kind: Literal["charge", "refund"], at: float, charge: Charged, amount: Decimal) -> Entry:
    amounts = (amount, ZERO) if unit_of(charge.account) == "credits" else (ZERO, amount)
    return Entry(at, kind, charge.charge_id, charge.charge_id, charge.account, charge.model, charge.prompt, *amounts)
