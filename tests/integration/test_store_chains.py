"""What chains cost in the store: what is looked at are the jobs that ended, not those that wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update

from orchestrator.store import chains, settling
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import jobs

from .store_rows import force_jobs, make_batch

BATCH = "things-20261122-0001"


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """How Postgres reads, for each SELECT and UPDATE of a transaction that may not read whole tables."""
    found: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE")) and not many:
            cursor.execute("EXPLAIN " + statement, parameters)
            found.append("\n".join(row[0] for row in cursor.fetchall()))

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


def in_a_chain(connection: Connection, needed: int) -> None:
    """Every job after the first ones needs one of these."""
    connection.execute(
        text(
            "INSERT INTO job_need (job_pk, needed_pk, role) "
            "SELECT job.pk, needed.pk, 'original' "
            "FROM job JOIN job AS needed ON needed.ordinal = job.ordinal % :needed WHERE job.ordinal >= :needed"
        ),
        {"needed": needed},
    )
    later = jobs.c.ordinal >= needed
    connection.execute(update(jobs).where(later).values(state="waiting", waits_for="dependency"))
    connection.execute(update(jobs).where(~later).values(dependents_due=True))


def test_looking_for_ends_reads_their_index_alone(database: Database) -> None:
    scope = make_batch(database, jobs=50)
    with plans(database) as found, database.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        assert chains.batches_to_move(connection, scope) == []
        assert chains.pass_on_ends(connection, BATCH) == 0
    assert len(found) == 2
    assert all("ix_job_dependents_due" in plan for plan in found), found


def test_many_ends_are_told_in_several_transactions(database: Database) -> None:
    scope: Scope = make_batch(database, jobs=1000)
    with database.begin() as connection:
        in_a_chain(connection, 500)
        force_jobs(connection, BATCH, ["failed"] * 500)
    told: list[int] = []
    while not told or told[-1]:
        with database.begin() as connection:
            told.append(chains.pass_on_ends(connection, BATCH))
    assert told == [200, 200, 100, 0]
    with database.begin() as connection:
        assert chains.batches_to_move(connection, scope) == []
        states = connection.execute(select(jobs.c.state).distinct().order_by(jobs.c.state)).scalars().all()
        assert states == ["failed", "skipped"]
        assert settling.settle_batch(connection, BATCH) == "failed"


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_many_that_need_one_are_told_in_several_transactions(database: Database, end: str) -> None:
    scope = make_batch(database, jobs=1201)
    with database.begin() as connection:
        in_a_chain(connection, 1)
        connection.execute(update(jobs).where(jobs.c.ordinal == 0).values(reused_from_pk=jobs.c.pk))
        force_jobs(connection, BATCH, [end])
    told: list[int] = []
    waiting: list[int] = []
    with plans(database) as found:
        while not told or told[-1]:
            with database.begin() as connection:
                told.append(chains.pass_on_ends(connection, BATCH))
                assert chains.batches_to_move(connection, scope) == ([BATCH] if len(told) < 3 else [])
                left = select(func.count()).where(jobs.c.state == "waiting")
                waiting.append(connection.execute(left).scalar_one())
    assert (told, waiting) == ([1, 1, 1, 0], [700, 200, 0, 0])
    assert len(found) < 30  # statements, however many they are that it is told to
