"""The sandbox's books: accounts, requests and every credit charged or refunded, derived from the journal's records.

Nothing here moves by itself: refunds and statuses are computed from the records for the instant that is asked about.
"""

import heapq
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from orchestrator.base.money import ZERO
from orchestrator.sandbox.journal import Journal
from orchestrator.sandbox.records import AccountSeen, Job, PostReceived, Record, RequestAccepted, StateOpened, ToppedUp


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of credits: `credits` is positive for a charge and for a refund."""

    at: float
    kind: Literal["charge", "refund"]
    request_id: str
    job_id: str
    account: str
    model: str
    prompt: str
    credits: Decimal


class Book:
    """All facts in memory, each one written to the journal first. Safe to read from any thread."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._lock = threading.Lock()
        self._funds: dict[str, Decimal] = {}  # opening balance and top-ups, less every charge
        self._refunds: dict[str, list[Job]] = {}  # the failed jobs, whose credits come back at their end
        self._requests: dict[str, RequestAccepted] = {}
        self._jobs: dict[str, Job] = {}
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

    def requests(self) -> list[RequestAccepted]:
        """All accepted requests, oldest first."""
        with self._lock:
            return list(self._requests.values())

    def posts(self) -> list[PostReceived]:
        """All POSTs of generation requests that arrived, oldest first."""
        with self._lock:
            return list(self._posts)

    def entries(self, now: float) -> list[Entry]:
        """Every movement of credits up to `now`, in order of time."""
        return sorted(
            (entry for request in self.requests() for entry in _entries(request, now)),
            key=lambda entry: entry.at,
        )

    def balances(self, now: float) -> dict[str, Decimal]:
        """Each account's credits at `now`."""
        with self._lock:
            accounts = list(self._funds)
        return {account: self.balance(account, now) for account in accounts}

    def balance(self, account: str, now: float) -> Decimal:
        """The credits of one account at `now`; nothing for one that was never seen."""
        with self._lock:
            refunds = [job.credits for job in self._refunds.get(account, ()) if job.finished_at <= now]
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
            case RequestAccepted():
                self._requests[record.request_id] = record
                for job in record.jobs:
                    self._jobs[job.job_id] = job
                    self._charge(record, job)
                self._max_in_flight = max(self._max_in_flight, len(self._ends))

    def _charge(self, request: RequestAccepted, job: Job) -> None:
        while self._ends and self._ends[0] <= request.at:
            heapq.heappop(self._ends)
        if job.outcome == "rejected":
            return
        heapq.heappush(self._ends, job.finished_at)
        self._funds[request.account] -= job.credits
        if job.outcome == "failed":
            self._refunds.setdefault(request.account, []).append(job)


def _entries(request: RequestAccepted, now: float) -> list[Entry]:
    found: list[Entry] = []
    for job in request.jobs:
        if job.outcome == "rejected":
            continue
        found.append(_entry("charge", request.at, request, job))
        if job.outcome == "failed" and job.finished_at <= now:
            found.append(_entry("refund", job.finished_at, request, job))
    return found


def _entry(kind: Literal["charge", "refund"], at: float, request: RequestAccepted, job: Job) -> Entry:
    return Entry(at, kind, request.request_id, job.job_id, request.account, job.model, job.prompt, job.credits)
