"""What a poll changes: each item moves on by itself, and the submission ends when the provider's word is final."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Connection, Float, case, cast, exists, func, insert, null, or_, select, update

from orchestrator.base.states import Book, JobState, SettledBy, SubmissionState
from orchestrator.store import ledger, repricing
from orchestrator.store.database import NOW
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.rowsets import BIG, IDS, INSTANT, INT, JSON, TEXT, UUID_, rowset
from orchestrator.store.sending import in_seconds, lock_submissions
from orchestrator.store.tables import MONEY, assets, jobs, submissions

#: How long sources live where nothing is said (guide: results are kept at most 72 h), and at most, whatever is said.
_LIFE_SECONDS = 72 * 3600.0
LONGEST_LIFE_SECONDS = 8 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a finished item that is to be stored; `role` is original, thumbnail, preview or final_frame."""

    position: int
    role: str
    kind: str
    url: str
    expires_at: datetime | None
    declared_mime: str | None
    tags: list[dict[str, Any]] = field(default_factory=list)
    #: The file itself, in place of a `url`, where it came with the answer.
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """The final word on one item: `sources` where it is finished, else `error` and the state it ends in."""

    position: int
    state: JobState
    spent: Decimal
    sources: tuple[Source, ...] = ()
    error: dict[str, Any] | None = None
    #: Whether the provider named what it charged; else `spent` is the worst case.
    is_told: bool = True
    #: What the job's labels say besides from now on.
    labels: dict[str, str] = field(default_factory=dict)
    #: How long the provider worked on it, where it tells that.
    generation_seconds: float | None = None
    #: Where this is our word, not the provider's: it holds only while the submission has this lease.
    lease: UUID | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """An answered poll after which is asked again. `nothing_there`: finished, it says, but there is nothing to fetch
    yet.
    """

    id: UUID
    token: UUID
    provider_status: str | None
    nothing_there: bool
    next_poll_seconds: float


def record_outcomes(
    connection: Connection, outcomes: Mapping[UUID, Sequence[ItemOutcome]], *, follow_prices: bool = True
) -> int:
    """Move finished items of some submissions on: to `copying` with their files, to `failed` or `rejected`; how many
    were moved. Repeating it changes nothing.

    Guarded by the job's state alone: the provider's word is final, whoever heard it; but for outcomes of ours, by their
    lease. All these submissions are locked. Where it cost more than was reserved, the
    account's lock is taken, and all that is reserved for its model follows: call it before any row is changed. Without
    `follow_prices` nothing follows: what one text costs says nothing of the next.
    """
    told = {(of, outcome.position): outcome for of, found in outcomes.items() for outcome in found}
    if told and follow_prices:
        repricing.follow_charges(connection, {key: it.spent for key, it in told.items() if it.is_told})
    lock_submissions(connection, outcomes)
    if not told:
        return 0
    moved = connection.execute(_MOVE_ON, {"rows": [_moved_row(*key, it) for key, it in told.items()]}).all()
    pks = {(row.submission_id, row.position): row.pk for row in moved}
    _insert_sources(connection, [(pk, source) for key, pk in pks.items() for source in told[key].sources])
    ledger.charge(connection, {pk: (key[0], told[key].spent) for key, pk in pks.items()})
    assumed = {key[0] for key in pks if not told[key].is_told}
    if assumed:
        assume = update(submissions).where(submissions.c.id.in_(assumed))
        connection.execute(assume.values(settled_by=SettledBy.ASSUMED))
    _keep_durations(connection, {key: told[key] for key in pks})
    return len(pks)


def _moved_row(submission_id: UUID, position: int, outcome: ItemOutcome) -> dict[str, Any]:
    known = [source.expires_at for source in outcome.sources if source.role == "original" and source.expires_at]
    return {
        "submission_id": str(submission_id),
        "position": position,
        "state": outcome.state,
        "spent": str(outcome.spent),
        "error": outcome.error,
        "labels": outcome.labels,
        "expires_at": min(known).isoformat() if known else None,
        "lease": str(outcome.lease) if outcome.lease else None,
    }


def _keep_durations(connection: Connection, outcomes: Mapping[tuple[UUID, int], ItemOutcome]) -> None:
    """With the answer, by the item's position: `generation_seconds`."""
    told: dict[UUID, dict[str, float]] = defaultdict(dict)
    for (submission_id, position), outcome in outcomes.items():
        if outcome.generation_seconds is not None:
            told[submission_id][str(position)] = outcome.generation_seconds
    if told:
        rows = [{"id": str(submission_id), "told": durations} for submission_id, durations in told.items()]
        connection.execute(_KEEP_DURATIONS, {"rows": rows})


def _insert_sources(connection: Connection, sources: Sequence[tuple[int, Source]]) -> None:
    if sources:
        rows = [
            {
                "job_pk": job_pk,
                "position": source.position,
                "role": source.role,
                "kind": source.kind,
                "source_url": source.url,
                "source_expires_at": source.expires_at.isoformat() if source.expires_at else None,
                "declared_mime": source.declared_mime,
                "content": source.content,
                "tags": source.tags,
            }
            for job_pk, source in sources
        ]
        connection.execute(_INSERT_SOURCES, {"rows": rows})


def record_polls(connection: Connection, polls: Sequence[Poll]) -> set[UUID]:
    """The provider answered; ask again later. Those whose lease is still there."""
    rows = [
        {
            "id": str(poll.id),
            "token": str(poll.token),
            "provider_status": poll.provider_status,
            "nothing_there": poll.nothing_there,
            "next_poll_seconds": poll.next_poll_seconds,
        }
        for poll in polls
    ]
    return set(connection.execute(_RECORD_POLLS, {"rows": rows}).scalars() if rows else ())


def record_poll_failure(
    connection: Connection, submission_id: UUID, token: UUID, *, not_found: bool, reason: str, next_poll_seconds: float
) -> bool:
    """The poll did not work; ask again later. An unbroken run of 404 is timed by its first."""
    since = func.coalesce(submissions.c.not_found_since, NOW) if not_found else null()
    return _put_back(
        connection,
        submission_id,
        token,
        {
            "polls": submissions.c.polls + 1,
            "poll_failures": submissions.c.poll_failures + 1,
            "not_found_since": since,
            "answer": {"poll": reason},
            "due_at": in_seconds(next_poll_seconds),
        },
    )


def _put_back(connection: Connection, submission_id: UUID, token: UUID, values: dict[str, Any]) -> bool:
    return bool(
        connection.execute(
            update(submissions)
            .where(
                submissions.c.id == submission_id,
                submissions.c.lease_token == token,
                submissions.c.state == SubmissionState.ACCEPTED,
            )
            .values(NO_LEASE | values)
        ).rowcount
    )


def resolve_finished(connection: Connection, statuses: Mapping[UUID, str | None]) -> set[UUID]:
    """End those of some submissions (with the provider's last word on each) none of whose jobs is generating any more;
    the charge of each is what its jobs spent.
    """
    rows = [{"id": str(submission_id), "provider_status": status} for submission_id, status in statuses.items()]
    return set(connection.execute(_RESOLVE, {"rows": rows}).scalars() if rows else ())


def open_items(connection: Connection, submission_ids: Collection[UUID]) -> dict[UUID, list[tuple[int, Decimal]]]:
    """(position, price in credits) of the jobs of each submission that are still generating."""
    found: dict[UUID, list[tuple[int, Decimal]]] = {submission_id: [] for submission_id in submission_ids}
    for row in connection.execute(_OPEN_ITEMS, {"ids": list(submission_ids)}):
        found[row.submission_id].append((row.position, row.price))
    return found


_ENDING = rowset(
    submission_id=UUID_, position=INT, state=TEXT, spent=MONEY, error=JSON, labels=JSON, expires_at=INSTANT, lease=UUID_
)
_IS_COPYING = _ENDING.c.state == JobState.COPYING
_EXPIRY = func.least(func.coalesce(_ENDING.c.expires_at, in_seconds(_LIFE_SECONDS)), in_seconds(LONGEST_LIFE_SECONDS))
_MOVE_ON = (
    update(jobs)
    .where(
        jobs.c.submission_id == _ENDING.c.submission_id,
        jobs.c.position == _ENDING.c.position,
        jobs.c.state == JobState.GENERATING,
        or_(
            _ENDING.c.lease.is_(None),
            exists().where(submissions.c.id == jobs.c.submission_id, submissions.c.lease_token == _ENDING.c.lease),
        ),
    )
    .values(
        state=_ENDING.c.state,
        spent=func.coalesce(jobs.c.spent, 0) + _ENDING.c.spent,  # an earlier attempt may have cost something
        error=_ENDING.c.error,
        labels=jobs.c.labels.concat(_ENDING.c.labels),
        due_at=NOW,
        source_expires_at=case((_IS_COPYING, _EXPIRY), else_=jobs.c.source_expires_at),
        ended_at=case((_IS_COPYING, jobs.c.ended_at), else_=NOW),
    )
    .returning(jobs.c.pk, jobs.c.submission_id, jobs.c.position)
)
_SOURCES = rowset(
    job_pk=BIG,
    position=INT,
    role=TEXT,
    kind=TEXT,
    source_url=TEXT,
    source_expires_at=INSTANT,
    declared_mime=TEXT,
    content=TEXT,
    tags=JSON,
)
_INSERT_SOURCES = insert(assets).from_select([column.name for column in _SOURCES.c], select(*_SOURCES.c))
_DURATIONS = rowset(id=UUID_, told=JSON)
_SO_FAR = func.coalesce(submissions.c.answer, cast({}, JSON))
_KEEP_DURATIONS = (
    update(submissions)
    .where(submissions.c.id == _DURATIONS.c.id)
    .values(
        answer=_SO_FAR.concat(
            func.jsonb_build_object(
                "generation_seconds",
                func.coalesce(_SO_FAR["generation_seconds"], cast({}, JSON)).concat(_DURATIONS.c.told),
            )
        )
    )
)

_ENDED = rowset(id=UUID_, provider_status=TEXT)
_RESOLVE = (
    update(submissions)
    .where(
        submissions.c.id == _ENDED.c.id,
        submissions.c.state == SubmissionState.ACCEPTED,
        ~select(jobs.c.pk)
        .where(jobs.c.submission_id == submissions.c.id, jobs.c.state == JobState.GENERATING)
        .exists(),
    )
    .values(
        NO_LEASE
        | {
            "state": SubmissionState.RESOLVED,
            "provider_status": _ENDED.c.provider_status,
            "settled_by": func.coalesce(submissions.c.settled_by, SettledBy.PROVIDER),
            "charged": ledger.held_in(Book.SPENT, submissions.c.id),
            "polls": submissions.c.polls + 1,
            "due_at": null(),
            "ended_at": NOW,
        }
    )
    .returning(submissions.c.id)
)
_POLLED = rowset(id=UUID_, token=UUID_, provider_status=TEXT, nothing_there=Boolean(), next_poll_seconds=Float())
_SINCE = func.coalesce(submissions.c.not_found_since, NOW)
_RECORD_POLLS = (
    update(submissions)
    .where(
        submissions.c.id == _POLLED.c.id,
        submissions.c.lease_token == _POLLED.c.token,
        submissions.c.state == SubmissionState.ACCEPTED,
    )
    .values(
        NO_LEASE
        | {
            "provider_status": _POLLED.c.provider_status,
            "polls": submissions.c.polls + 1,
            "poll_failures": 0,
            "not_found_since": case((_POLLED.c.nothing_there, _SINCE), else_=null()),
            "due_at": in_seconds(_POLLED.c.next_poll_seconds),
        }
    )
    .returning(submissions.c.id)
)
_OPEN_ITEMS = (
    select(jobs.c.submission_id, jobs.c.position, func.coalesce(jobs.c.price, jobs.c.estimate).label("price"))
    .where(jobs.c.submission_id == IDS, jobs.c.state == JobState.GENERATING)
    .order_by(jobs.c.submission_id, jobs.c.position)
)
