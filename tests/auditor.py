"""The auditor: what must hold at every instant, whatever failed, read from our rows by SQL of its own and compared
with what the provider booked (invariants I1 to I11 of docs/reliability.md).

It takes a database connection, the provider's movements and the payments that settled on its chains as plain values, so
that the simulation, the crash tests and the chaos runs can all call it. It tells a job's movements by its prompt: give
every job one of its own. All amounts of an account are in its unit: nothing here adds up credits and USDC.
"""

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, text

from orchestrator.sandbox.asset_urls import TWO_MARKER

from .audit_facts import Facts, Movement, Settlement
from .audit_payments import Signatures, check_payments, is_said, paid_for

ZERO = Decimal(0)
_COMMITTED = ("reserved", "in_doubt", "spent", "lost")
_ENDED = ("completed", "partial_failure", "failed", "cancelled")
_OVER = ("completed", "failed", "rejected", "cancelled", "skipped")
_GIVES_NOTHING = ("failed", "rejected", "cancelled", "skipped")
_MAY_BE_CHARGED = ("submitting", "generating", "copying", "completed", "failed", "in_doubt")
_AT_STAKE = ("submitting", "generating", "in_doubt")
#: Which books each kind of movement may go between.
_WAYS = {
    "reserve": {("available", "reserved")},
    "charge": {("reserved", "spent"), ("in_doubt", "spent"), ("available", "spent")},
    "release": {("reserved", "available"), ("in_doubt", "available")},
    "doubt": {("reserved", "in_doubt")},
    "clear": {("in_doubt", "reserved")},
    "loss": {("in_doubt", "lost")},
    "refund": {("spent", "available"), ("lost", "available")},
}


def read_local(uri: str) -> bytes | None:
    """The bytes behind a `file://` URI, None where there is no file."""
    path = Path(unquote(urlsplit(uri).path))
    return path.read_bytes() if path.is_file() else None


@dataclass
class Auditor:
    """Checks step after step; it remembers what it saw, to see what went backwards.

    `bought_again`: how often a job (by prompt) was bought once more because a person asked for it. `prices_hold`:
    the provider charges at most what was estimated. `delivered`: the SHA-256 (hex) of the originals that were
    made for a prompt, none where that is not known. `secrets`: what no row may hold.
    """

    read_file: Callable[[str], bytes | None] = read_local
    bought_again: Counter[str] = field(default_factory=Counter)
    prices_hold: bool = True
    delivered: Callable[[str], set[str]] = lambda _: set()
    secrets: Sequence[str] = ()
    #: The folder of what we leave outside of the database, where no signature may be either.
    home: Path | None = None
    _signatures: Signatures = field(default_factory=Signatures)
    _seen_files: set[tuple[str, str]] = field(default_factory=set)
    _seen_states: dict[int, str] = field(default_factory=dict)
    _seen_entries: int = 0
    _were_blocked: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """Forget what was seen: a backup was put back, and all goes on from there. What was taken over until the next
        step was within the caps when it was bought, though perhaps not beside what was released since.
        """
        self._seen_states, self._seen_entries, self._were_blocked = {}, sys.maxsize, set()

    def step(
        self, connection: Connection, movements: Iterable[Movement], settlements: Iterable[Settlement] = ()
    ) -> list[str]:
        """What is wrong at this instant, each with the invariant that it breaks."""
        facts = Facts.read(connection, movements, settlements)
        self._signatures.note(facts)
        wrong = [
            *self._once(facts),
            *self._named(facts),
            *_ledger(facts),
            *_ledger_follows_states(facts),
            *self._agrees_with_provider(facts),
            *check_payments(facts),
            *self._caps(facts),
            *self._files(facts),
            *_evidence(facts),
            *_chains(facts),
            *self._monotone(facts),
        ]
        self._seen_states = {job.pk: job.state for job in facts.jobs}
        self._seen_entries = max((row.pk for row in facts.ledger), default=0)
        self._were_blocked = {batch for batch, holds in facts.holds.items() if any(holds.values())}
        return wrong

    def rest(
        self, connection: Connection, movements: Iterable[Movement], settlements: Iterable[Settlement] = ()
    ) -> list[str]:
        """What is wrong once nothing works any more: all of `step`, and nothing is left lying (I4, I9)."""
        wrong = self.step(connection, movements, settlements)
        facts = Facts.read(connection, ())
        for batch in facts.batches.values():
            held = batch.state == "held" and facts.holds.get(batch.id)
            if batch.state not in _ENDED and not held and batch.state != "paused":
                wrong.append(f"I4 liveness: batch {batch.id} is {batch.state} and nobody works on it")
            if batch.state in _ENDED and facts.holds.get(batch.id):
                wrong.append(f"I4 liveness: batch {batch.id} is {batch.state} under {list(facts.holds[batch.id])}")
        for payment in facts.payments.values():
            if payment.state == "signed" and not is_said(facts.submissions.get(payment.submission_id)):
                wrong.append(f"I4 liveness: nobody finds out what became of the payment {payment.id}")
        for row in (*facts.jobs, *facts.submissions.values(), *facts.payments.values()):
            if row.lease_token is not None:
                wrong.append(f"I4 liveness: a lease that nobody holds: {row}")
        for job in facts.jobs:
            if job.state not in _OVER and facts.batches[job.batch_id].state in _ENDED:
                wrong.append(f"I4 liveness: {job.name} is {job.state} in an ended batch")
            if job.waits_for == "dependency" and all(need.state in _OVER for need in facts.needs[job.pk]):
                wrong.append(f"I4 liveness: {job.name} waits for jobs that are over")
        return [*wrong, *self._leaks(connection), *self._signatures.leaks(connection, self.home)]

    def _once(self, facts: Facts) -> Iterator[str]:
        """I1: a job is charged once, unless a person bought it again or the earlier charge was given back."""
        sent: dict[int, set[str]] = defaultdict(set)
        for row in facts.ledger:
            if row.kind == "reserve" and facts.submissions[row.submission_id].sent_at is not None:
                sent[row.job_pk].add(row.submission_id)
        for job in facts.jobs:
            amounts = facts.charges.get(job.prompt, [])
            charges = sum(amount > 0 for amount in amounts)
            kept = charges - sum(amount < 0 for amount in amounts)
            if kept > 1 + self.bought_again[job.prompt]:
                yield f"I1 once: {job.name} was charged {kept} times"
            if (paid := paid_for(facts, job)) > 1 + self.bought_again[job.prompt]:
                yield f"I1 once: {paid} payments for {job.name} have settled"
            if charges > len(sent[job.pk]):
                yield f"I1 once: {job.name} was charged {charges} times for {len(sent[job.pk])} submissions of ours"
            if not self.bought_again[job.prompt]:
                for before in sent[job.pk] - {job.submission_id}:
                    if facts.submissions[before].state in ("sent", "accepted", "unknown"):
                        yield f"I1 once: {job.name} has left submission {before} without knowing what became of it"

    def _named(self, facts: Facts) -> Iterator[str]:
        """I1: whatever is charged is delivered, on its way, failed or in doubt; nothing is charged behind our back."""
        ours = Counter(job.prompt for job in facts.jobs)
        for prompt in facts.charges:
            if ours[prompt] != 1:
                yield f"I1 once: {ours[prompt]} jobs of ours have the charged prompt {prompt!r}"
        for job in facts.jobs:
            unit = facts.accounts[job.account_pk].unit
            if facts.units.get(job.prompt, {unit}) != {unit}:
                yield f"I6 ledger: {job.name} is counted in {unit}, and was charged in {facts.units[job.prompt]}"
            net = sum(facts.charges.get(job.prompt, ()), ZERO)
            if net > 0 and job.state not in _MAY_BE_CHARGED and not self.bought_again[job.prompt]:
                yield f"I1 once: {job.name} is {job.state}, but {net} {unit} were charged for it"

    def _agrees_with_provider(self, facts: Facts) -> Iterator[str]:
        """I6: we never count less than was charged, and just that much where the provider named it."""
        books: dict[int, Counter[str]] = defaultdict(Counter)
        for (_, job_pk), found in facts.in_books().items():
            books[job_pk].update(found)
        for job in facts.jobs:
            if facts.is_paid_directly(job):
                continue  # how a payment is shared out among the jobs of its request is nobody's business but ours
            theirs = sum(facts.charges.get(job.prompt, ()), ZERO)
            committed = sum((books[job.pk][book] for book in _COMMITTED), ZERO)
            is_open = job.state in _AT_STAKE
            submission = facts.submissions.get(job.submission_id)
            # A new price that only a lost answer named was heard by nobody, neither by who settled it nor by who wrote
            # it off: the statement shows it as unexplained.
            settled_by = submission.settled_by if submission is not None else None
            is_unheard = is_open or settled_by in ("person", "write-off")
            if theirs > committed and (self.prices_hold or not is_unheard):
                yield f"I6 ledger: {theirs} were charged for {job.name}, {committed} are committed"
            told = submission is not None and submission.settled_by == "provider"
            if told and not is_open and committed != theirs and not self.bought_again[job.prompt]:
                yield f"I6 ledger: {job.name} cost {theirs}, the ledger says {committed}"

    def _caps(self, facts: Facts) -> Iterator[str]:
        """I2: no reserve is ever made that passes a cap, and none while the batch is under a blocking hold."""
        by_batch: defaultdict[str, Decimal] = defaultdict(Decimal)
        by_day: defaultdict[tuple[int, Any, str], Decimal] = defaultdict(Decimal)
        for row in facts.ledger:
            delta = row.amount if row.from_book == "available" else -row.amount if row.to_book == "available" else ZERO
            by_batch[row.batch_id] += delta
            for unit, value in (("credits", delta), ("usd", delta * row.usd_per_credit)):
                by_day[row.account_pk, row.day, unit] += value
                by_day[row.account_pk, row.day[:7], unit] += value
            if row.kind != "reserve" or row.pk <= self._seen_entries:
                continue
            batch, account = facts.batches[row.batch_id], facts.accounts[row.account_pk]
            if batch.budget is not None and by_batch[batch.id] > batch.budget:
                yield f"I2 cap: {batch.id} committed {by_batch[batch.id]} of {batch.budget} credits"
            for cap, unit, window in (
                (account.daily_cap, account.daily_unit, row.day),
                (account.monthly_cap, account.monthly_unit, row.day[:7]),
            ):
                if cap is not None and by_day[account.pk, window, unit] > cap:
                    yield f"I2 cap: {by_day[account.pk, window, unit]} of {cap} {unit} committed in {window}"
            if batch.id in self._were_blocked and any(facts.holds.get(batch.id, {}).values()):
                yield f"I2 cap: {batch.id} reserved more under {facts.holds[batch.id]}"

    def _files(self, facts: Facts) -> Iterator[str]:
        """I3: a completed job's originals are in the destination, whole, and are what the provider made."""
        for job in facts.jobs:
            if job.state != "completed":
                continue
            originals = [asset for asset in facts.assets.get(job.pk, ()) if asset.role == "original"]
            if len({asset.sha256 for asset in originals}) != (2 if TWO_MARKER in (job.prompt or "") else 1):
                yield f"I5 truth: {job.name} is completed with {len(originals)} originals"
            for asset in originals:
                if asset.stored_at is None:
                    yield f"I3 asset: {job.name} is completed, but an original is not stored"
                elif (asset.uri, asset.sha256) not in self._seen_files:
                    yield from self._check_file(job, asset)

    def _check_file(self, job: Any, asset: Any) -> Iterator[str]:
        data = self.read_file(asset.uri)
        if data is None:
            yield f"I3 asset: the original of {job.name} is not there"
        elif hashlib.sha256(data).hexdigest() != asset.sha256:
            yield f"I3 asset: the original of {job.name} is not what was verified"
        elif asset.sha256 not in (self.delivered(job.prompt) or {asset.sha256}):
            yield f"I3 asset: the original of {job.name} is not what the provider made"
        else:
            self._seen_files.add((asset.uri, asset.sha256))

    def _monotone(self, facts: Facts) -> Iterator[str]:
        """I11: what is final stays final; failed and rejected jobs move only where a person asked for it."""
        for job in facts.jobs:
            before = self._seen_states.get(job.pk)
            if before in ("completed", "cancelled") and job.state != before:
                yield f"I11 monotone: {job.name} was {before} and is {job.state}"

    def _leaks(self, connection: Connection) -> Iterator[str]:
        """I9: no secret is in any row."""
        for table in ("job", "submission", "payment", "batch", "hold", "event", "ledger", "notification"):
            for secret in self.secrets:
                query = text(f"SELECT count(*) FROM {table} AS t WHERE strpos(t::text, :secret) > 0")
                if connection.execute(query, {"secret": secret}).scalar_one():
                    yield f"I9 secret: the table {table} holds a secret"


def _ledger(facts: Facts) -> Iterator[str]:
    """I6: every movement is a known one, no book is overdrawn, and the sums that caps are checked by are exact."""
    for row in facts.ledger:
        if (row.from_book, row.to_book) not in _WAYS[row.kind] or row.amount <= 0:
            yield f"I6 ledger: no such movement: {row}"
    for (submission_id, job_pk), books in facts.in_books().items():
        for book in _COMMITTED:
            if books[book] < 0:
                yield f"I6 ledger: {book} of job {job_pk} in {submission_id} is {books[book]}"
    sums: Counter[tuple[str, Any]] = Counter()
    for row in facts.ledger:
        if "available" in (row.from_book, row.to_book):
            sums[row.batch_id, row.day] += row.amount if row.from_book == "available" else -row.amount
    for key in {*sums, *facts.usage}:
        if sums[key] != facts.usage.get(key, ZERO):
            yield f"I6 ledger: usage of {key} is {facts.usage.get(key, ZERO)}, the ledger says {sums[key]}"


def _ledger_follows_states(facts: Facts) -> Iterator[str]:
    """I6: money is reserved for what is under way, in doubt for what is in doubt, and settled for what is over."""
    books = facts.in_books()
    for job in facts.jobs:
        found = books.get((job.submission_id, job.pk), Counter())
        price = job.estimate if job.price is None else job.price
        under_way = job.state in ("submitting", "generating")
        if under_way and price > 0 and found["reserved"] <= 0:
            yield f"I6 ledger: {job.name} is {job.state} and nothing is reserved for it"
        if not under_way and found["reserved"] > 0:
            yield f"I6 ledger: {job.name} is {job.state} and {found['reserved']} are still reserved for it"
        if (job.state == "in_doubt" and price > 0) != (found["in_doubt"] > 0):
            yield f"I6 ledger: {job.name} is {job.state} and {found['in_doubt']} are in doubt for it"
        settled = sum((one["spent"] + one["lost"] for (_, pk), one in books.items() if pk == job.pk), ZERO)
        if settled != (job.spent or ZERO):
            yield f"I6 ledger: {job.name} spent {job.spent}, its books say {settled}"
    current = {(job.submission_id, job.pk) for job in facts.jobs}
    for (submission_id, job_pk), found in books.items():
        if (submission_id, job_pk) not in current and (found["reserved"] or found["in_doubt"]):
            yield f"I6 ledger: job {job_pk} left {submission_id} with {dict(found)}"


def _evidence(facts: Facts) -> Iterator[str]:
    """I5: no state without what it says."""
    for job in facts.jobs:
        submission = facts.submissions.get(job.submission_id)
        if job.state in ("failed", "rejected") and not job.error_code:
            yield f"I5 truth: {job.name} is {job.state} and nobody knows why"
        if job.state == "in_doubt" and (submission is None or submission.state != "unknown"):
            yield f"I5 truth: {job.name} is in doubt, its submission is {submission and submission.state}"
        if job.state == "generating" and (submission is None or submission.request_id is None):
            yield f"I5 truth: {job.name} is generating without a request id"
    for batch in facts.batches.values():
        if batch.state == "held" and not facts.holds.get(batch.id):
            yield f"I5 truth: batch {batch.id} is held and nobody knows why"


def _chains(facts: Facts) -> Iterator[str]:
    """I5: a job is sent only with all results that it needs, past their gates, and skipped only for want of one."""
    for job in facts.jobs:
        needs = facts.needs.get(job.pk, ())
        if job.state == "submitting":
            if job.lacks_result:
                yield f"I5 truth: {job.name} is sent without a result that it needs"
            for need in needs:
                if need.state != "completed" or need.gate in ("manual", "rejected"):
                    yield f"I5 truth: {job.name} is sent, {need.name} is {need.state} and its gate {need.gate}"
        may_come = all(need.state not in _GIVES_NOTHING and need.gate != "rejected" for need in needs)
        if job.state == "skipped" and job.error_code == "dependency-failed" and may_come:
            yield f"I5 truth: {job.name} is skipped, and all that it needs may still come"
