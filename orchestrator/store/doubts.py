"""Everything that bears on an account's money in doubt: what was sent, what was charged since, what the balance was."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select, update

from orchestrator.base.payments import Payment, Unit
from orchestrator.base.states import Book, EntryKind, JobState, SettledBy, SubmissionState
from orchestrator.store import top_ups
from orchestrator.store.database import NOW
from orchestrator.store.payments import has_signed
from orchestrator.store.readings import is_open
from orchestrator.store.sending import in_seconds
from orchestrator.store.silence import is_awaited
from orchestrator.store.tables import batches, jobs, ledger, readings, submissions
from orchestrator.store.units import account_unit

#: How long after the commit of `sent` bytes of a POST may still leave: a little longer than the client's deadline.
POST_SECONDS = 300.0
#: How long the provider may take to book what it received.
SETTLING_SECONDS = 900.0
#: A charge for a job that failed may be given back as long as the provider knows of it (guide: 72 h).
_REFUNDABLE = timedelta(hours=72)
#: Why nothing can be read from a balance that has no baseline.
NO_BASELINE = "it was not read before the POST while nothing else was open or in doubt"


@dataclass(frozen=True, slots=True)
class Told:
    """A quiet reading, and what the provider says it charged us from the baseline until then."""

    at: datetime
    credits: Decimal
    charged: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A submission whose answer was lost, at its worst case; `evidence` once the balance was found unable to tell."""

    submission_id: UUID
    batch_id: str
    credits: Decimal
    sent_at: datetime
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known about the money that an account has in doubt. Times are the database's."""

    now: datetime
    doubts: tuple[Doubt, ...]
    is_open: bool
    #: The last quiet reading before the first doubtful POST, taken when nothing was in doubt.
    baseline: Told | None = None
    #: Quiet readings since the last doubtful POST, oldest first.
    readings: tuple[Told, ...] = ()
    #: Why what was charged to other submissions since the baseline is not certain; None: it is.
    uncertainty: str | None = None
    #: When the provider last charged less than was reserved: perhaps a charge, and a refund that took its time.
    last_release_at: datetime | None = None
    #: What the amounts are counted in.
    unit: Unit = Unit.CREDITS


def situation(connection: Connection, account_pk: int) -> Situation | None:
    """What is known about the money in doubt; None where there is none. Under the account's lock it stays true."""
    doubts = _doubts(connection, account_pk)
    if not doubts:
        return None
    now: datetime = connection.execute(select(NOW)).scalar_one()
    open_ones = bool(connection.execute(select(is_open(account_pk))).scalar_one())
    unit = account_unit(connection, account_pk)
    baseline = _baseline(connection, account_pk, min(doubt.sent_at for doubt in doubts))
    if baseline is None:
        return Situation(now, doubts, open_ones, unit=unit)
    return Situation(
        now=now,
        doubts=doubts,
        is_open=open_ones,
        baseline=baseline,
        readings=_later(connection, account_pk, baseline.at, max(doubt.sent_at for doubt in doubts)),
        uncertainty=_uncertainty(connection, account_pk, baseline.at),
        last_release_at=_last_release(connection, account_pk, baseline.at),
        unit=unit,
    )


def record_judgement(connection: Connection, known: Situation, evidence: dict[str, Any]) -> None:
    """The balance cannot tell: that is the evidence on each doubtful submission, until a person or time settles it."""
    ids = [doubt.submission_id for doubt in known.doubts]
    connection.execute(
        update(submissions)
        .where(submissions.c.id.in_(ids), submissions.c.state == SubmissionState.UNKNOWN)
        .values(evidence=evidence)
    )


def any_unjudged(connection: Connection, account_pk: int) -> bool:
    """Whether something is in doubt of which the balance may still tell."""
    unjudged = exists().where(_is_doubtful(account_pk), submissions.c.evidence.is_(None))
    return bool(connection.execute(select(unjudged)).scalar_one())


def overdue(connection: Connection, account_pk: int, *, seconds: float) -> tuple[Doubt, ...]:
    """What was sent longer ago than that and is still in doubt."""
    return _doubts(connection, account_pk, submissions.c.sent_at < in_seconds(-seconds))


class Outlook(NamedTuple):
    """For people: when a batch's doubts may be settled by themselves (`may_tell`), or why that cannot be."""

    words: str
    may_tell: bool


def outlook(connection: Connection, batch_id: str) -> Outlook | None:
    """What may become of a batch's doubts. None: nothing is in doubt, or nothing is known of it."""
    payer = connection.execute(
        select(batches.c.account_pk, batches.c.payment).where(batches.c.id == batch_id)
    ).one_or_none()
    if payer is None:
        return None
    if Payment(payer.payment).is_direct:
        return _outlook_of_payments(connection, batch_id)
    of_batch = submissions.c.batch_id == batch_id
    row = connection.execute(
        select(
            func.max(submissions.c.sent_at).label("sent_at"),
            func.max(submissions.c.evidence["reason"].astext).filter(of_batch).label("reason"),
        ).where(_is_doubtful(payer.account_pk))
    ).one()
    if row.reason is not None:
        return Outlook(f"the balance cannot tell: {row.reason}", may_tell=False)
    known = situation(connection, payer.account_pk)
    if known is None:
        return None
    if known.baseline is None or known.uncertainty is not None:
        return Outlook(f"the balance cannot tell: {known.uncertainty or NO_BASELINE}", may_tell=False)
    ripe = f"{ripe_at(row.sent_at):%Y-%m-%d %H:%M} UTC"
    return Outlook(f"from {ripe} on the balance may tell: orchestrator resume {batch_id}", may_tell=True)


def _outlook_of_payments(connection: Connection, batch_id: str) -> Outlook | None:
    row = connection.execute(
        select(
            func.bool_or(has_signed(submissions.c.id)).label("is_open"),
            func.bool_or(is_awaited(submissions.c.id)).label("is_awaited"),
            func.max(submissions.c.evidence["reason"].astext).label("reason"),
        ).where(submissions.c.batch_id == batch_id, submissions.c.state == SubmissionState.UNKNOWN)
    ).one()
    if row.is_open and not row.is_awaited:
        words = (
            f"the chain of its payment does not answer, so that nobody knows whether it has settled: once it does, "
            f"orchestrator resume {batch_id}; workers go on asking"
        )
        return Outlook(words, may_tell=True)
    if row.is_open:
        words = "the same signed payment is sent again while it is valid; then its chain tells whether it has settled"
        return Outlook(words, may_tell=True)
    return None if row.reason is None else Outlook(str(row.reason), may_tell=False)


def ripe_at(last_sent_at: datetime) -> datetime:
    """When the provider has booked whatever arrived of a POST that was sent then."""
    return last_sent_at + timedelta(seconds=POST_SECONDS + SETTLING_SECONDS)


def _is_doubtful(account: ColumnElement[int] | int) -> ColumnElement[bool]:
    return and_(submissions.c.account_pk == account, submissions.c.state == SubmissionState.UNKNOWN)


def _doubts(connection: Connection, account_pk: int, *conditions: ColumnElement[bool]) -> tuple[Doubt, ...]:
    in_book = func.sum(case((ledger.c.to_book == Book.IN_DOUBT, ledger.c.amount), else_=-ledger.c.amount))
    credits_in_doubt = (
        select(func.coalesce(in_book, 0))
        .where(
            ledger.c.submission_id == submissions.c.id,
            or_(ledger.c.to_book == Book.IN_DOUBT, ledger.c.from_book == Book.IN_DOUBT),
        )
        .scalar_subquery()
    )
    found = connection.execute(
        select(submissions, credits_in_doubt.label("credits"))
        .where(_is_doubtful(account_pk), *conditions)
        .order_by(submissions.c.sent_at, submissions.c.id)
    )
    return tuple(Doubt(row.id, row.batch_id, row.credits, row.sent_at, row.evidence) for row in found)


def _baseline(connection: Connection, account_pk: int, before: datetime) -> Told | None:
    """The last quiet reading before an instant at which nothing was in doubt either."""
    in_doubt_then = exists().where(
        submissions.c.account_pk == account_pk,
        submissions.c.sent_at <= readings.c.at,
        or_(submissions.c.ended_at.is_(None), submissions.c.ended_at >= readings.c.at),
    )
    row = connection.execute(
        select(readings.c.at, readings.c.credits)
        .where(readings.c.account_pk == account_pk, readings.c.quiet, readings.c.at < before, ~in_doubt_then)
        .order_by(readings.c.at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Told(row.at, row.credits)


def _later(connection: Connection, account_pk: int, since: datetime, after: datetime) -> tuple[Told, ...]:
    """The quiet readings after an instant, each with what was charged from `since` until then."""
    ours = (Book.SPENT, Book.LOST)
    charged = (
        select(
            func.coalesce(
                func.sum(
                    case((ledger.c.to_book.in_(ours), ledger.c.amount), else_=0)
                    - case((ledger.c.from_book.in_(ours), ledger.c.amount), else_=0)
                ),
                0,
            )
        )
        .where(ledger.c.account_pk == account_pk, ledger.c.at > since, ledger.c.at <= readings.c.at)
        .scalar_subquery()
    )
    found = connection.execute(
        select(readings.c.at, readings.c.credits, charged.label("charged"))
        .where(readings.c.account_pk == account_pk, readings.c.quiet, readings.c.at > after)
        .order_by(readings.c.at)
    )
    return tuple(Told(row.at, row.credits, row.charged) for row in found)


def _uncertainty(connection: Connection, account_pk: int, since: datetime) -> str | None:
    """Why the sum of what was charged since the baseline cannot be trusted, if so."""
    entries = select(ledger.c.pk).where(ledger.c.account_pk == account_pk)
    of_submission = entries.join(submissions, submissions.c.id == ledger.c.submission_id).where(ledger.c.at > since)
    no_word = or_(
        submissions.c.settled_by.in_([SettledBy.ASSUMED, SettledBy.PERSON, SettledBy.WRITE_OFF]),
        and_(submissions.c.settled_by == SettledBy.PROVIDER, submissions.c.evidence.is_not(None)),  # as a person told
    )
    elsewhere = or_(submissions.c.body_sha256.is_(None), submissions.c.sent_at <= since)
    failed_after_charge = (
        entries.join(jobs, jobs.c.pk == ledger.c.job_pk)
        .where(ledger.c.at > since - _REFUNDABLE, ledger.c.kind == EntryKind.CHARGE)
        .where(
            or_(
                jobs.c.state.in_([JobState.FAILED, JobState.REJECTED]),
                jobs.c.submission_id.is_distinct_from(ledger.c.submission_id),  # it failed, and was run again
            )
        )
    )
    row = connection.execute(
        select(
            of_submission.where(no_word).exists().label("no_word"),
            of_submission.where(submissions.c.request_id.is_not(None), elsewhere).exists().label("elsewhere"),
            entries.where(ledger.c.at > since, ledger.c.kind == EntryKind.REFUND).exists().label("refunded"),
            failed_after_charge.exists().label("failed"),
            top_ups.may_move(account_pk, since).label("topped_up"),
        )
    ).one()
    reasons = {
        "what another submission cost was never told by the provider": row.no_word,
        "a request that was sent at another time or place was taken over": row.elsewhere,
        "a refund was booked": row.refunded,
        "the balance was topped up since it was first read, or shortly before": row.topped_up,
        "a job failed after it was charged, and a refund for it could hide a charge": row.failed,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _last_release(connection: Connection, account_pk: int, since: datetime) -> datetime | None:
    found: datetime | None = connection.execute(
        select(func.max(ledger.c.at))
        .join(submissions, submissions.c.id == ledger.c.submission_id)
        .where(
            ledger.c.account_pk == account_pk,
            ledger.c.at > since - timedelta(seconds=SETTLING_SECONDS),
            ledger.c.kind == EntryKind.RELEASE,
            submissions.c.request_id.is_not(None),
        )
    ).scalar_one()
    return found
