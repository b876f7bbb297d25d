"""What a collection has: the results, refusals and names of its earlier batches, for a new one to build on."""

import json
from collections.abc import Collection as Names
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Text,
    and_,
    any_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on

from orchestrator.base.states import Gate, JobState
from orchestrator.planner.fingerprint import fingerprint
from orchestrator.planner.standing import History, PastJob
from orchestrator.store.reviews import rejected_results
from orchestrator.store.spoilt import is_spoilt
from orchestrator.store.tables import assets, batches, jobs

#: What says something about the same job tried once more; the others were not sent.
_TELLING = (
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.REJECTED,
    JobState.IN_DOUBT,
    JobState.SUBMITTING,
    JobState.GENERATING,
    JobState.COPYING,
)
#: What tells whether a destination has anything left: so many files of so many batches are looked for.
_NEWEST_BATCHES, _NEWEST_FILES = 20, 100
_MADE = jobs.alias("made")
_MADE_IN = batches.alias("made_in_batch")
_ORIGIN_PK = func.coalesce(jobs.c.reused_from_pk, jobs.c.pk).label("origin_pk")


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where earlier results are looked for: the batches of one account, or all sandboxes where `account_pk` is None.

    `everywhere`: in every collection of the account, else only in the one called `name`.
    """

    name: str
    account_pk: int | None
    everywhere: bool = False

    def holds(self, table: Any = batches) -> ColumnElement[bool]:
        """The condition that a batch is on the shelf."""
        mine = table.c.sandbox if self.account_pk is None else table.c.account_pk == self.account_pk
        return and_(mine, true() if self.everywhere else table.c.name == self.name)


def history(
    connection: Connection, shelf: Shelf, fingerprints: Names[str], destination: str, *, gated: Names[str] = ()
) -> History:
    """What the shelf knows of these fingerprints, and the last job of each name that the collection has now.

    Of those in `gated` also how the gates of their results were answered.
    Jobs of earlier releases, and those that only their receipts know, get their fingerprints here.
    """
    _fill_in_fingerprints(connection, shelf, fingerprints)
    wanted = _one_of(fingerprints)
    return History(
        by_fingerprint=_by_fingerprint(connection, shelf, wanted),
        by_name={past.name: past for past in _newest_of_each_name(connection, shelf, wanted)},
        destination=destination,
        gates=_answered_gates(connection, shelf, _one_of(gated)) if gated else {},
        rejected=rejected_results(connection, wanted),
    )


_FILL_IN = text(
    "UPDATE job SET fingerprint = told.fingerprint "
    "FROM jsonb_each_text(CAST(:found AS jsonb)) AS told (pk, fingerprint) WHERE job.pk = CAST(told.pk AS bigint)"
)


def _fill_in_fingerprints(connection: Connection, shelf: Shelf, wanted: Names[str]) -> None:
    """What is wanted has to be known by its fingerprint, or it would be bought again."""
    rows = connection.execute(
        select(jobs.c.pk, jobs.c.name, jobs.c.type, jobs.c.model, jobs.c.item)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(shelf.holds(), jobs.c.fingerprint.is_(None), jobs.c.state.in_(_TELLING), ~is_spoilt())
    )
    found = {row.pk: known for row in rows if (known := _known_fingerprint(row, wanted)) is not None}
    if found:
        connection.execute(_FILL_IN, {"found": json.dumps(found)})


def _known_fingerprint(row: Any, wanted: Names[str]) -> str | None:
    """The one of a job's possible fingerprints that is wanted: whether it was a take is not known."""
    number = row.name.rpartition(".")[2]
    for take in (None, int(number) if number.isdecimal() else None):
        with suppress(KeyError, TypeError, ValueError, AttributeError):  # not an item that this release would make
            known = fingerprint(type=row.type, model=row.model, item=row.item, take=take, needed={})
            if known in wanted:
                return known
    return None


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A stored original or final frame (`role`) of a job, and the destination that it is in."""

    job_pk: int
    asset_pk: int
    role: str
    destination: str
    key: str
    sha256: str
    mime_type: str


def kept_files(connection: Connection, job_pks: Names[int]) -> list[KeptFile]:
    """The stored originals and final frames of some jobs: what other jobs can be made from."""
    wanted = assets.c.job_pk == any_(bindparam(None, list(job_pks), type_=ARRAY(BigInteger())))
    return _files(connection, _stored("original", "final_frame").where(wanted).order_by(assets.c.pk))


def newest_files(connection: Connection, shelf: Shelf, destination: str) -> list[KeptFile]:
    """Some of the stored originals that the newest batches have in a destination."""
    newest = select(batches.c.id).where(shelf.holds(), batches.c.destination == destination)
    newest = newest.order_by(batches.c.created_at.desc()).limit(_NEWEST_BATCHES)
    return _files(connection, _stored("original").where(jobs.c.batch_id.in_(newest)).limit(_NEWEST_FILES))


def _stored(*roles: str) -> Any:
    return (
        select(assets, batches.c.destination)
        .join(jobs, jobs.c.pk == assets.c.job_pk)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(assets.c.role.in_(roles), assets.c.stored_at.is_not(None))
    )


def _files(connection: Connection, query: Any) -> list[KeptFile]:
    return [
        KeptFile(row.job_pk, row.pk, row.role, row.destination, row.key, row.sha256, row.mime_type)
        for row in connection.execute(query)
    ]


def _one_of(texts: Iterable[str]) -> ColumnElement[Any]:
    return any_(bindparam(None, list(texts), type_=ARRAY(Text())))


def _past(*more: Any) -> Any:
    """The columns of `PastJob`, as a query over jobs and their batches."""
    return (
        select(
            jobs.c.pk,
            jobs.c.batch_id,
            jobs.c.name,
            jobs.c.type,
            jobs.c.model,
            jobs.c.state,
            jobs.c.fingerprint,
            jobs.c.error,
            jobs.c.attempts,
            batches.c.destination,
            func.coalesce(_MADE.c.batch_id, jobs.c.batch_id).label("made_in"),
            _ORIGIN_PK,
            *more,
        )
        .join(batches, batches.c.id == jobs.c.batch_id)
        .outerjoin(_MADE, _MADE.c.pk == jobs.c.reused_from_pk)
        .outerjoin(_MADE_IN, _MADE_IN.c.id == _MADE.c.batch_id)
    )


def is_still_so(connection: Connection, shelf: Shelf, known: History, fingerprints: Names[str]) -> bool:
    """Whether nothing has become of these fingerprints since they were looked up.

    Under the account's lock, nothing becomes of them before the transaction ends either.
    """
    now = _by_fingerprint(connection, shelf, _one_of(fingerprints))
    return now == {name: known.by_fingerprint[name] for name in fingerprints if name in known.by_fingerprint}


def _by_fingerprint(connection: Connection, shelf: Shelf, wanted: ColumnElement[Any]) -> dict[str, tuple[PastJob, ...]]:
    """Of a result and its copies the one that was bought, and those that are elsewhere: every night may have reused it.

    A copy whose files are forgotten (`prune`) does not count.
    """
    has_files = select(assets.c.pk).where(assets.c.job_pk == jobs.c.pk, assets.c.stored_at.is_not(None)).exists()
    is_elsewhere = or_(_MADE_IN.c.name != batches.c.name, _MADE_IN.c.destination != batches.c.destination)
    tells = or_(jobs.c.reused_from_pk.is_(None), and_(is_elsewhere, has_files))
    one_result = (jobs.c.fingerprint, func.coalesce(jobs.c.reused_from_pk, jobs.c.pk), batches.c.destination)
    query = (
        _past(null().label("item"))
        .ext(distinct_on(*one_result))
        .where(shelf.holds(), _is_any_of(shelf, wanted), jobs.c.state.in_(_TELLING), tells)
        .order_by(*one_result, jobs.c.pk.desc())
    )
    found: dict[str, list[PastJob]] = {}
    for row in connection.execute(query):
        found.setdefault(row.fingerprint, []).append(_past_job(row))
    return {
        fingerprint: tuple(sorted(past, key=lambda one: one.pk, reverse=True)) for fingerprint, past in found.items()
    }


def _answered_gates(connection: Connection, shelf: Shelf, wanted: ColumnElement[Any]) -> dict[int, Gate]:
    """The newest answer to each result (by the job that was bought): any night may have asked."""
    answered = jobs.c.gate.in_((Gate.APPROVED, Gate.REJECTED))
    query = (
        select(_ORIGIN_PK, jobs.c.gate)
        .ext(distinct_on(_ORIGIN_PK.element))
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(shelf.holds(), _is_any_of(shelf, wanted), answered)
        .order_by(_ORIGIN_PK.element, jobs.c.pk.desc())
    )
    return {row.origin_pk: Gate(row.gate) for row in connection.execute(query)}


def _is_any_of(shelf: Shelf, wanted: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that a job has a wanted fingerprint; the index is by account."""
    mine = true() if shelf.account_pk is None else jobs.c.account_pk == shelf.account_pk
    return and_(mine, jobs.c.fingerprint == wanted)


def _newest_of_each_name(connection: Connection, shelf: Shelf, wanted: ColumnElement[Any]) -> Iterable[PastJob]:
    own = Shelf(shelf.name, shelf.account_pk)
    item = case((jobs.c.fingerprint == wanted, null()), else_=jobs.c.item).label("item")
    query = (
        _past(item)
        .ext(distinct_on(jobs.c.name))
        .where(own.holds(), _is_current(own))
        .order_by(jobs.c.name, jobs.c.pk.desc())
    )
    return [_past_job(row) for row in connection.execute(query)]


def _past_job(row: Any) -> PastJob:
    return PastJob(
        pk=row.pk,
        batch_id=row.batch_id,
        name=row.name,
        type=row.type,
        model=row.model,
        state=JobState(row.state),
        fingerprint=row.fingerprint,
        destination=row.destination,
        made_in=row.made_in,
        origin_pk=row.origin_pk,
        attempts=row.attempts,
        error=row.error,
        item=row.item,
    )


def wanted_names(own: Shelf) -> Any:
    """The names that a collection has now."""
    return select(jobs.c.name).join(batches, batches.c.id == jobs.c.batch_id).where(own.holds(), _is_current(own))


def _is_current(own: Shelf) -> ColumnElement[bool]:
    """Whether a batch says what its collection has now: it is of the newest whole manifest, or of a part that came
    since, or was adopted.
    """
    newer = batches.alias("newer")
    is_outdone = (
        select(newer.c.id)
        .where(own.holds(newer), newer.c.manifest != "", ~newer.c.partial)
        .where(tuple_(newer.c.created_at, newer.c.id) > tuple_(batches.c.created_at, batches.c.id))
        .correlate(batches)
        .exists()
    )
    return or_(batches.c.manifest == "", ~is_outdone)
