"""Claims cost the same however many rows there are: none of their plans reads more than a page or so a row."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import event, select, text, update

from orchestrator.base.states import JobState
from orchestrator.store import claims, free_claims
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Connection, Database
from orchestrator.store.due import next_due
from orchestrator.store.leases import Lease
from orchestrator.store.room import Room
from orchestrator.store.tables import in_flight, jobs

from .store_rows import claim, job_states, make_batch

BATCH = "things-20261122-0001"
CLAIMED = 30
#: A claimed row is found by one index, locked, and written into all of them; seven pages of an index are its height.
PAGES = 60 * CLAIMED

#: Each of the 100,000 jobs is in one of four queues: due, at the provider, finished, or not stored at the first try.
ROWS = """
SET LOCAL session_replication_role = replica;
INSERT INTO submission (id, batch_id, account_pk, state, reserved, polls, poll_failures, created_at, due_at,
                        accepted_at, request_id)
SELECT CAST(md5(n::text) AS uuid), batch.id, batch.account_pk, 'accepted', 3, 0, 0, now(), now(), now(), 'r-' || n
FROM batch, generate_series(0, 24999) AS n;
INSERT INTO job (batch_id, account_pk, ordinal, name, type, model, item, labels, estimate, state, attempts,
                 copy_failures, due_at, source_expires_at, submission_id, position)
SELECT batch.id, batch.account_pk, 1000 + n, 'many-' || n, 'image', 'gen', '{}', '{}', 3,
       (ARRAY['pending', 'generating', 'copying', 'copying'])[1 + n / 25000], 0, n / 75000,
       CASE WHEN n < 75000 THEN now() ELSE now() + interval '1 hour' END, now() + interval '1 day',
       CASE WHEN n >= 25000 THEN CAST(md5(mod(n, 25000)::text) AS uuid) END, 0
FROM batch, generate_series(0, 99999) AS n;
INSERT INTO in_flight (account_pk, batch_id, model, jobs, submitting) SELECT account_pk, id, 'gen', 25000, 0 FROM batch;
SET LOCAL session_replication_role = DEFAULT;
"""


def test_no_plan_of_a_claim_reads_the_table(database: Database) -> None:
    """Neither in what order Postgres would read it, nor how much: also right after so much was stored."""
    account = Scope(make_batch(database, jobs=1).account_pk)
    with database.begin() as connection:
        connection.execute(text("ANALYZE job, submission"))  # of hardly a row
        connection.exec_driver_sql(ROWS)
        with plans_of(connection) as plans:
            most = {"limit": CLAIMED}
            assert claims.claim_submissions(connection, account, lease=a_lease(), max_in_flight=99_999, **most)
            assert len(free_claims.claim_polls(connection, account, lease=a_lease(), **most)) == CLAIMED
            assert len(free_claims.claim_copies(connection, account, lease=a_lease(), **most)) == CLAIMED
            assert next_due(connection, account, max_in_flight=99_999).copy == 0
        for statement, plan in plans:
            read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            assert read < PAGES, (statement, read, plan)
            scanned = [node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
            assert not {"job", "submission", "in_flight"}.intersection(scanned), (statement, plan)


def a_lease() -> Lease:
    return Lease(uuid4(), 1, 60)


@contextmanager
def plans_of(connection: Connection) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The statements that run meanwhile, with their plans and what these have read."""
    found: list[tuple[str, dict[str, Any]]] = []

    def explain(_connection: Any, explained: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "WITH", "INSERT")):
            with explained.connection.cursor() as cursor:
                cursor.execute("SAVEPOINT explained")
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", parameters)
                found.append((statement, cursor.fetchone()[0][0]["Plan"]))
                cursor.execute("ROLLBACK TO explained")

    event.listen(connection, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(connection, "before_cursor_execute", explain)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, all of them."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def test_the_jobs_at_the_provider_are_counted_as_they_move(database: Database) -> None:
    """Whatever statement moves them, and however often the rows of the count are folded."""
    scope = make_batch(database, jobs=400, bundle=4, models=("a", "b"))
    for number in range(8):
        assert claim(database, scope, limit=50, max_in_flight=1000)
        with database.begin() as connection:
            is_some = jobs.c.ordinal % 3 == number % 3
            for source, target in ((JobState.SUBMITTING, JobState.GENERATING), (JobState.GENERATING, JobState.COPYING)):
                connection.execute(update(jobs).where(jobs.c.state == source, is_some).values(state=target))
        states = job_states(database, BATCH)
        at_provider = sum(states.count(state) for state in (JobState.SUBMITTING, JobState.GENERATING))
        with database.begin() as connection:
            room = Room(connection, scope.account_pk, max_in_flight=1000)
            assert (room.of_batch(BATCH), room.places()) == (at_provider, 1000 - at_provider)
            sums = select(in_flight.c.submitting)
            assert sum(connection.execute(sums).scalars()) == states.count(JobState.SUBMITTING)
            if number == 7:
                room._rows_too_many = 10_000
                room.fold()
                assert len(connection.execute(sums).all()) == 2
