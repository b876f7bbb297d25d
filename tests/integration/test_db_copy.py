"""`db copy`: everything is there, the books balance, and at no time can both databases be worked on."""

import os
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text
from sqlmodel import SQLModel

from orchestrator.base import faults
from orchestrator.base.errors import Unusable
from orchestrator.store import audit, migrate, moving, schedules
from orchestrator.store.database import Database, OutOfReach, outages_told
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.leases import WorkerSession

from ..postgres import new_database
from .store_rows import account, claim, make_batch

BATCH = "things-20261122-0001"
#: Before and after each of the three commits: of the copy, of the source's closing, of the copy's opening.
BOUNDARIES = 6


@pytest.fixture
def target(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """Another fresh, migrated database."""
    with new_database(postgres.url, "copied") as url:
        opened = Database(url, actor="tests")
        yield opened
        opened.close()


@pytest.fixture
def source(database: Database) -> Database:
    """A database in which something has happened, left by a worker that was killed."""
    scope = make_batch(database, jobs=3)
    session = WorkerSession(database)
    assert len(claim(database, scope, owner=session.ensure(), limit=2)) == 2
    session.close()
    database.close()
    return database


def everything(database: Database) -> dict[str, list[str]]:
    """The rows of every table, in words."""
    with database.begin() as connection:
        return {
            table.name: sorted(str(row) for row in connection.execute(select(table)))
            for table in SQLModel.metadata.sorted_tables
        }


def is_usable(database: Database) -> bool:
    try:
        migrate.require_usable(database)
    except Unusable:
        return False
    return True


def test_everything_is_there_and_goes_on_where_it_was(source: Database, target: Database) -> None:
    before = everything(source)
    moved = moving.move(source, target)
    assert everything(target) == before
    assert moved == {name: len(rows) for name, rows in before.items() if name != "transition"}
    assert (moved["job"], moved["ledger"]) == (3, 2)
    with target.begin() as connection:
        assert audit.audit(connection) == []
        assert connection.execute(text("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'")).scalar_one() == 0
    make_batch(target, "things-20261122-0002", account_pk=account(target))  # numbers go on behind those in use
    session = WorkerSession(target)
    assert session.ensure() > 1
    session.close()


def test_the_embedded_one_is_closed_for_good(source: Database, target: Database) -> None:
    account(target, "credits:someone who only looked, as doctor does")
    still_open = another(source)
    moving.move(source, target)
    with pytest.raises(Unusable, match="was moved to copied on") as caught:
        migrate.require_usable(source)
    assert "ORCHESTRATOR_DATABASE_URL" in (caught.value.hint or "")
    assert not migrate.is_behind(source), "no release migrates it"
    with pytest.raises(OutOfReach, match="was moved"):
        account(still_open, "credits:new")
    still_open.close()
    with pytest.raises(Unusable, match="moved before"):
        moving.move(source, target)


@pytest.mark.parametrize("boundary", range(BOUNDARIES))
def test_killed_at_any_boundary_it_is_made_whole_by_the_same_command(
    source: Database, target: Database, boundary: int
) -> None:
    before = everything(source)
    urls = [database.url.render_as_string(hide_password=False) for database in (source, target)]
    for database in (source, target):
        database.close()
    assert killed_at(boundary, *urls)
    if is_usable(source):
        assert everything(source) == before
        assert not is_usable(target) or not everything(target)["job"], "both could be worked on"
    for database in (source, target):
        database.close()
    if boundary < BOUNDARIES - 1:
        moving.move(source, target)
    assert (is_usable(source), is_usable(target)) == (False, True)
    assert everything(target) == before


def killed_at(boundary: int, source_url: str, target_url: str) -> bool:
    """Whether a process that moves one database into the other died of SIGKILL at this visit of a fault point."""
    pid = os.fork()
    if pid == 0:
        left = iter(range(boundary))
        faults.install(lambda _: None if next(left, None) is not None else os.kill(os.getpid(), signal.SIGKILL))
        moving.move(Database(source_url, actor="child"), Database(target_url, actor="child"))
        os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_what_one_release_began_another_one_ends(source: Database, target: Database) -> None:
    urls = [database.url.render_as_string(hide_password=False) for database in (source, target)]
    for database in (source, target):
        database.close()
    assert killed_at(BOUNDARIES - 3, *urls), "after the source was closed"
    for database in (source, target):
        with database.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = replace(version_num, '/000', '/999')"))
    assert moving.move(source, target) == {}
    assert (migrate.current(target) or "").startswith("999")


@pytest.mark.parametrize("used", ["source", "target"])
def test_a_database_in_use_is_neither_moved_nor_filled(
    source: Database, target: Database, monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    other = another({"source": source, "target": target}[used])
    other.check()
    with monkeypatch.context() as patched:
        patched.setattr(moving, "_LEAVE_SECONDS", 0.1)
        with pytest.raises(Unusable, match="in use by another process"):
            moving.move(source, target)
    other.close()
    assert moving.move(source, target)["batch"] == 1


def another(database: Database) -> Database:
    """The same database, as another process has it open."""
    return Database(database.url.render_as_string(hide_password=False), actor="another")


def test_until_the_source_is_closed_nobody_writes_to_the_copy(
    source: Database, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_require_unused", lambda *_: None)  # it is not seen behind some poolers
    before = everything(source)
    waiting = another(target)
    migrate.require_usable(waiting)
    urls = [database.url.render_as_string(hide_password=False) for database in (source, target)]
    for database in (source, target):
        database.close()
    assert killed_at(BOUNDARIES - 4, *urls), "the copy is there, its source is open"
    assert is_usable(source)
    with pytest.raises(OutOfReach, match="not all there"):
        account(waiting, "credits:new")
    moving.move(source, target)
    assert everything(target) == before
    account(waiting, "credits:new")
    waiting.close()


def test_who_starts_during_the_copy_waits_and_then_sees_the_mark(
    source: Database, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = another(target)
    with starting.engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '50ms'"))
        connection.commit()
        seen: list[str] = []

        def start(*_: object) -> None:
            with pytest.raises(OutOfReach, match="lock timeout"), outages_told():
                connection.execute(text("SELECT version_num FROM alembic_version"))
            seen.append("waited")

        monkeypatch.setattr(moving, "_copy_sequences", start)
        monkeypatch.setattr(moving, "_require_unused", lambda *_: None)
        moving.move(source, target)
    starting.close()
    assert seen == ["waited"]


def test_only_an_empty_database_of_this_schema_is_filled(source: Database, target: Database) -> None:
    account(target, "credits:someone")
    with target.begin() as connection:
        connection.execute(text("UPDATE account SET daily_cap = 5, daily_unit = 'credits'"))
    with pytest.raises(Unusable, match=r"not empty \(account\)"):
        moving.move(source, target)
    with target.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(Unusable, match="schema 0001"):
        moving.move(source, target)
    with target.begin() as connection:
        migrate.set_mark(connection, migrate.Mark("arriving", migrate.head(), "of-another"))
    with pytest.raises(Unusable, match="holds another copy"):
        moving.move(source, target)
    assert is_usable(source)


def test_open_batches_that_need_this_machine_are_told(source: Database) -> None:
    with source.begin() as connection:
        assert moving.bound_to_a_machine(connection) == [BATCH]
        connection.execute(text("UPDATE batch SET destination = 's3://b/x', media = 's3://b/.inputs'"))
        assert moving.bound_to_a_machine(connection) == []


def test_schedules_that_read_files_of_this_machine_are_told(source: Database) -> None:
    with source.begin() as connection:
        for name, manifest in (("near", "/jobs/near.yaml"), ("far", "s3://jobs/far.yaml")):
            schedules.add(connection, 1, schedules.Spec(name, manifest, "0 2 * * *", "UTC"))
        assert moving.local_schedules(connection) == {"near": "/jobs/near.yaml"}
