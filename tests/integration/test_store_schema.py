"""The database's own guards: the transition table, the trigger that enforces it, events, and migrations."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Executable, Table, Update, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from orchestrator.base.errors import Unusable
from orchestrator.base.settings import load_settings
from orchestrator.base.states import (
    BATCH_TRANSITIONS,
    JOB_TRANSITIONS,
    SUBMISSION_TRANSITIONS,
    BatchState,
    JobState,
    SubmissionState,
)
from orchestrator.operations.database import open_database, upgrade
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.tables import batches, events, jobs, submissions, transitions

from ..postgres import new_database
from .store_rows import force_jobs, make_batch, put_submission

BATCH = "things-20261122-0001"
MIGRATIONS = Path(__file__).parents[2] / "migrations"
TABLES: dict[str, Mapping[Any, Iterable[StrEnum]]] = {
    "batch": BATCH_TRANSITIONS,
    "job": JOB_TRANSITIONS,
    "submission": SUBMISSION_TRANSITIONS,
}


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database that was never migrated."""
    with new_database(postgres.url, "never_migrated", template="template0") as url:
        yield url


def test_the_table_in_the_database_is_the_one_in_the_code(database: Database) -> None:
    with database.begin() as connection:
        stored = {(row.entity, row.from_state, row.to_state) for row in connection.execute(select(transitions))}
    assert stored == {
        (entity, source.value, target.value)
        for entity, table in TABLES.items()
        for source, targets in table.items()
        for target in targets
    }


def test_upgrading_leaves_nothing_for_autogenerate(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


@pytest.mark.parametrize("source", list(JobState))
def test_a_job_moves_only_as_the_table_says(database: Database, source: JobState) -> None:
    scope = make_batch(database, jobs=len(JobState))
    for ordinal, target in enumerate(JobState):
        with database.begin() as connection:
            paid = put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED)
            force_jobs(connection, BATCH, [source] * len(JobState), paid)
        statement = (
            update(jobs)
            .where(jobs.c.batch_id == BATCH, jobs.c.ordinal == ordinal)
            .values(state=target, submission_id=paid, error={"code": "unknown"})
        )
        assert is_refused(database, statement) == (target not in JOB_TRANSITIONS[source] and target is not source)


@pytest.mark.parametrize("source", list(SubmissionState))
def test_a_submission_moves_only_as_the_table_says(database: Database, source: SubmissionState) -> None:
    scope = make_batch(database)
    for target in SubmissionState:
        with database.begin() as connection:
            made = put_submission(connection, BATCH, scope.account_pk, source)
        statement = update(submissions).where(submissions.c.id == made).values(state=target, request_id=str(made))
        assert is_refused(database, statement) == (
            target not in SUBMISSION_TRANSITIONS[source] and target is not source
        )


@pytest.mark.parametrize("source", list(BatchState))
def test_a_batch_moves_only_as_the_table_says(database: Database, source: BatchState) -> None:
    for number, target in enumerate(BatchState):
        batch_id = f"things-{number}"
        make_batch(database, batch_id)
        with database.begin() as connection:
            connection.execute(text("ALTER TABLE batch DISABLE TRIGGER batch_transition"))
            connection.execute(_to(batch_id, source))
            connection.execute(text("ALTER TABLE batch ENABLE TRIGGER batch_transition"))
        assert is_refused(database, _to(batch_id, target)) == (
            target not in BATCH_TRANSITIONS[source] and target is not source
        )


def _to(batch_id: str, state: StrEnum) -> Update:
    ended = state in ("completed", "partial_failure", "failed", "cancelled")
    return (
        update(batches)
        .where(batches.c.id == batch_id)
        .values(state=state, finished_at=text("now()") if ended else None)
    )


def is_refused(database: Database, statement: Executable) -> bool:
    try:
        with database.begin() as connection:
            connection.execute(statement)
    except IntegrityError as error:
        if "no transition of" not in str(error):
            raise
        return True
    return False


def test_every_transition_is_written_down_with_who_did_it(database: Database, database_url: str) -> None:
    scope = make_batch(database, jobs=1)
    other = Database(database_url, actor="max mustermann@büro\\x\t'q'")
    with other.begin() as connection:
        put_submission(connection, BATCH, scope.account_pk, SubmissionState.INTENDED)
        connection.execute(_to(BATCH, BatchState.PAUSED))
        connection.execute(_to(BATCH, BatchState.PAUSED))
        connection.execute(_to(BATCH, BatchState.RUNNING))
        connection.execute(update(jobs).values(state=JobState.CANCELLED))
    other.close()
    with database.begin() as connection:
        is_new_job = (events.c.entity == "job") & events.c.from_state.is_(None)
        found = connection.execute(select(events).where(~is_new_job).order_by(events.c.pk)).all()
    assert [(row.entity, row.from_state, row.to_state, row.actor) for row in found] == [
        ("batch", None, "running", "tests"),
        ("submission", None, "intended", "max mustermann@büro\\x\t'q'"),
        ("batch", "running", "paused", "max mustermann@büro\\x\t'q'"),
        ("batch", "paused", "running", "max mustermann@büro\\x\t'q'"),
        ("job", "pending", "cancelled", "max mustermann@büro\\x\t'q'"),
    ]
    assert {row.batch_id for row in found} == {BATCH}
    assert found[-1].entity_id == "job-0"


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (jobs, {"state": "nonsense"}),
        (jobs, {"lease_owner": 1}),
        (jobs, {"state": "submitting", "submission_id": None}),
        (batches, {"state": "completed", "finished_at": None}),
    ],
)
def test_impossible_rows_are_refused(database: Database, table: Table, values: dict[str, Any]) -> None:
    make_batch(database, jobs=1)
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(update(table).values(values))


@pytest.mark.parametrize("state", ["accepted", "sent"])
def test_impossible_submissions_are_refused(database: Database, state: str) -> None:
    scope = make_batch(database, jobs=1)
    with pytest.raises(IntegrityError), database.begin() as connection:
        put_submission(connection, BATCH, scope.account_pk, state, request_id=None, body_sha256=None)


def test_a_request_id_belongs_to_one_submission(database: Database) -> None:
    scope = make_batch(database, jobs=1)
    with database.begin() as connection:
        put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED, request_id="r-1")
    with pytest.raises(IntegrityError), database.begin() as connection:
        put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED, request_id="r-1")


def test_migrators_may_come_at_once(empty_url: str) -> None:
    database = Database(empty_url, actor="tests")
    found: list[object] = []

    def run() -> None:
        try:
            found.append(migrate.upgrade(database))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [migrate.head()] * 4
    assert migrate.upgrade(database) == migrate.head()
    migrate.require_usable(database)
    database.close()


def test_a_shared_database_is_migrated_by_its_owner_only(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", empty_url)
    with pytest.raises(Unusable, match="no schema") as caught, open_database(load_settings()):
        pass
    assert caught.value.exit_code == 4
    assert caught.value.hint == "run: orchestrator db upgrade"


@pytest.mark.parametrize("oldest_code", ["9998", None], ids=["took-something-away", "says-nothing"])
def test_a_newer_schema_that_older_code_does_not_fit_is_not_worked_on(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, oldest_code: str | None
) -> None:
    _make_newer(database, oldest_code)
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    with pytest.raises(Unusable, match="newer than this release"), open_database(load_settings()):
        pass
    assert not migrate.is_behind(database)


def test_a_newer_schema_that_only_added_is_worked_on_and_left_as_it_is(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_newer(database, oldest_code=migrate.head())
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    with open_database(load_settings()):
        pass
    assert upgrade(load_settings()) == migrate.current(database) == "9999"


def _make_newer(database: Database, oldest_code: str | None) -> None:
    with database.begin() as connection:
        connection.execute(
            text("UPDATE alembic_version SET version_num = '9999', oldest_code = :oldest"), {"oldest": oldest_code}
        )


def test_every_migration_since_the_first_release_says_whose_code_may_work_on_it() -> None:
    for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions():
        assert script.revision < "0004" or hasattr(script.module, "oldest_code"), script.revision


def test_the_names_of_the_files_tell_the_revisions() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert migrate.head() == scripts.get_current_head()
    assert migrate.revisions() == {script.revision for script in scripts.walk_revisions()}


def test_whose_code_may_work_on_it_is_in_the_database(database: Database) -> None:
    with database.begin() as connection:
        assert connection.execute(text("SELECT oldest_code FROM alembic_version")).scalar_one() == "0004"


@pytest.mark.parametrize(
    "url",
    ["nonsense", "postgresql://u:s3cret@127.0.0.1:port/db", "mysql://u:s3cret@h/db", "sqlite:///x",
     "postgresql://u:s3cret@127.0.0.1:1/db", "postgresql://u@127.0.0.1:1/db?password=s3cret"],
)  # fmt: skip
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", url)
    with pytest.raises(Unusable) as caught, open_database(load_settings()):
        pass
    assert caught.value.exit_code == 4
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
