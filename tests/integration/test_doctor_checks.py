"""What `doctor` says of clocks and workers, and what to do."""

from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.base.settings import load_settings
from orchestrator.operations.check import Health
from orchestrator.operations.clock_checks import database_clock, provider_clock
from orchestrator.operations.doctor import doctor
from orchestrator.operations.worker_checks import workers
from orchestrator.store.database import Database
from orchestrator.store.leases import WorkerSession

from .store_rows import make_batch


def test_a_clock_that_is_off_is_told_with_its_direction(database: Database) -> None:
    assert database_clock(database).verdict is Health.OK
    ahead = "CREATE OR REPLACE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS "
    with database.begin() as connection:
        connection.execute(text(ahead + "'SELECT statement_timestamp() + interval ''5 minutes'''"))
    check = database_clock(database)
    assert (check.verdict, check.name) == (Health.WARN, "clock")
    assert "s behind the database's" in check.message
    assert check.hint is not None


def test_a_home_that_cannot_be_used_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "file" / "home"))
    check = next(check for check in doctor() if check.name == "home")
    assert (check.verdict, check.message) == (Health.FAIL, f"{tmp_path}/file/home cannot be used: Not a directory")
    assert check.hint == "set ORCHESTRATOR_HOME to a folder that you may write to"


def test_the_providers_clock_is_not_asked_for_without_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(provider_clock(load_settings(katana_base_url="http://127.0.0.1:1"))) == []


def test_work_that_nobody_does_is_told(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    (check,) = workers(settings, database)
    assert check.verdict is Health.OK
    scope = make_batch(database)
    (check,) = workers(settings, database)
    assert (check.verdict, check.message) == (Health.WARN, "none at work, for 1 running batch(es)")
    assert check.hint == "orchestrator worker; or orchestrator resume, until the batches end"
    session = WorkerSession(database)
    session.ensure()
    alive, missing = workers(settings, database)
    assert alive.message.endswith("a process works for): 1 without keys, which send nothing")
    assert (missing.verdict, missing.message) == (
        Health.WARN, "none of them has the keys of credits:test, for 1 running batch(es)",
    )  # fmt: skip
    paying = WorkerSession(database, keys_of=scope.account_pk)
    paying.ensure()
    (check,) = workers(settings, database)
    assert check.message.endswith(": 1 with the keys of credits:test, 1 without keys, which send nothing")
    session.close()
    paying.close()
