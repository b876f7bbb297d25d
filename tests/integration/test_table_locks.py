"""Migrating where others have the tables: it waits a while for their locks, says who has them, and gives up."""

import logging
import re
import time

import pytest
from sqlalchemy import text

from orchestrator.base.errors import Unusable
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.table_locks import with_table_locks


def test_a_migration_gives_up_where_a_table_is_in_use_and_says_by_whom(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    with database.engine.connect() as other:
        pid = other.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(text("SELECT pk, 'a secret' FROM job WHERE name = 'a secret'"))
        with pytest.raises(Unusable) as caught:
            migrate.upgrade(database, give_up_after_seconds=0)
    said = rf"process {pid} has one since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \S+ \(idle in transaction\), with SELECT pk"
    assert re.fullmatch(rf"no lock on the tables in 0 s: {said}", str(caught.value))
    assert migrate.current(database) == "0005"


def test_what_waits_for_a_lock_goes_on_as_soon_as_it_is_free(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0
    with database.engine.connect() as other, database.engine.connect() as connection:
        other.execute(text("LOCK TABLE batch IN ROW EXCLUSIVE MODE"))

        def lock() -> None:
            nonlocal tries
            tries += 1
            connection.execute(text("LOCK TABLE job, batch IN ACCESS EXCLUSIVE MODE"))

        def go_on(_: float) -> None:
            with database.begin() as third:
                third.execute(text("LOCK TABLE job IN ACCESS EXCLUSIVE MODE NOWAIT"))  # nobody is held up meanwhile
            if tries == 2:
                other.rollback()

        monkeypatch.setattr(time, "sleep", go_on)
        with_table_locks(connection, lock)
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "0"
    assert tries == 3
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().endswith("(idle in transaction), with LOCK TABLE batch IN ROW EXCLUSIVE MODE")
