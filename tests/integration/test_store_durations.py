"""Which jobs tell how long others like them will take."""

from typing import Any
from uuid import uuid4

from sqlalchemy import insert, text, update

from orchestrator.store.database import Connection, Database
from orchestrator.store.durations import JobKind, Seen, newest_durations
from orchestrator.store.free_claims import claim_polls
from orchestrator.store.leases import Lease
from orchestrator.store.tables import jobs, ledger

from .store_rows import PRICE, force_jobs, make_batch, put_submission

BATCH = "things-20261122-0001"


def charge(connection: Connection, account_pk: int, ordinal: int, *, seconds: float, **submission: object) -> None:
    """A job that was seen to be done so long after its acceptance."""
    ago = text(f"now() - interval '{seconds} seconds'")
    values: dict[str, Any] = {"polls": 2, "settled_by": "provider", "accepted_at": ago} | submission
    made = put_submission(connection, BATCH, account_pk, "resolved", **values)
    row = jobs.c.batch_id == BATCH, jobs.c.ordinal == ordinal
    connection.execute(update(jobs).where(*row).values(submission_id=made, position=0))
    pk = connection.execute(jobs.select().where(*row)).one().pk
    moved = {"at": text("now()"), "day": text("current_date"), "account_pk": account_pk, "batch_id": BATCH}
    books = {"kind": "charge", "from_book": "reserved", "to_book": "spent", "amount": PRICE, "usd_per_credit": 0}
    connection.execute(insert(ledger).values(moved | books | {"submission_id": made, "job_pk": pk}))


def test_what_polls_have_seen_is_told_by_kind_and_with_the_providers_word(database: Database) -> None:
    scope = make_batch(database, jobs=4, models=("gen", "film"))
    with database.begin() as connection:
        film = update(jobs).where(jobs.c.model == "film")
        connection.execute(film.values(item=jobs.c.item.concat({"duration_seconds": 5})))
        charge(connection, scope.account_pk, 0, seconds=10, answer={"generation_seconds": {"0": 8.0}})
        charge(connection, scope.account_pk, 1, seconds=40, polls=1)
        charge(connection, scope.account_pk, 2, seconds=90, settled_by="person")
        charge(connection, scope.account_pk, 3, seconds=5, polls=0)  # its POST said it already
        seen = newest_durations(connection, scope.account_pk)
        assert newest_durations(connection, scope.account_pk + 1) == []
    assert sorted(seen, key=lambda each: each.seconds) == [
        Seen(JobKind("gen"), 10.0, 2, 8.0), Seen(JobKind("film", "5"), 40.0, 1, None),
    ]  # fmt: skip


def test_a_poll_is_claimed_with_its_kind(database: Database) -> None:
    scope = make_batch(database, jobs=2, models=("film",))
    with database.begin() as connection:
        connection.execute(update(jobs).values(item=jobs.c.item.concat({"duration_seconds": 10})))
        accepted = put_submission(connection, BATCH, scope.account_pk, "accepted")
        force_jobs(connection, BATCH, ["generating", "generating"], accepted)
        (poll,) = claim_polls(connection, scope, lease=Lease(uuid4(), 1, 60), limit=10)
    assert poll.kind == JobKind("film", "10")
