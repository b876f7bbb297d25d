"""Storing a batch: what its id is, what its key gives, and what is said where the answer to COMMIT is lost."""

import json
import secrets
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from orchestrator.base.errors import UsageError
from orchestrator.operations import submitting
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.tables import batches

from .engine_site import Site, make_site

STORE_ONLY = SubmitOptions(detach=True, alongside=True)


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def submit_things(site: Site, options: SubmitOptions = STORE_ONLY) -> dict[str, Any]:
    file = site.folder / "things.json"
    job = {"id": "one", "model": "gen", "prompt": "A thing", "aspect_ratio": "1:1"}
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": [job]}))
    return submit(file, site.settings, options, confirm=lambda _: True)


def stored_ids(site: Site) -> list[str]:
    with site.database.begin() as connection:
        return list(connection.execute(select(batches.c.id)).scalars())


Commit = Callable[[psycopg.Connection[Any]], None]


@pytest.fixture
def lose_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Commit], None]:
    """Have one COMMIT of a batch end like this, and its connection break before the answer is there."""
    commit = PGDialect_psycopg.do_commit

    def install(end: Commit) -> None:
        ends = chain([end], repeat(None))

        def broken(self: PGDialect_psycopg, connection: Any) -> None:
            makes_batch = connection.execute("SELECT to_regclass('batch') IS NOT NULL").fetchone()[0]
            makes_batch = makes_batch and connection.execute("SELECT count(*) FROM batch").fetchone()[0]
            chosen = next(ends) if makes_batch else None
            if chosen is None:
                commit(self, connection)
                return
            chosen(connection)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(PGDialect_psycopg, "do_commit", broken)

    return install


def test_a_commit_whose_answer_is_lost_is_looked_up(site: Site, lose_answer: Callable[[Commit], None]) -> None:
    lose_answer(lambda connection: connection.commit())
    document = submit_things(site)
    assert stored_ids(site) == [document["batch"]]


def test_a_commit_that_did_not_happen_is_said_to_be_none(site: Site, lose_answer: Callable[[Commit], None]) -> None:
    lose_answer(lambda connection: connection.rollback())
    with pytest.raises(OutOfReach, match="server closed the connection"):
        submit_things(site)
    assert stored_ids(site) == []


def test_an_id_that_is_taken_is_not_given_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    real = secrets.token_hex
    monkeypatch.setattr(secrets, "token_hex", lambda count=None: next(numbers) if count == 2 else real(count))
    first, second = submit_things(site), submit_things(site)
    assert [document["batch"][-5:] for document in (first, second)] == ["-aaaa", "-bbbb"]


@pytest.mark.parametrize("sandbox", [False, True])
def test_a_call_that_was_broken_off_goes_on_under_its_key(
    site: Site, sandbox: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SubmitOptions(key="night-22", sandbox=sandbox)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(submitting, "run_batches", dies)
        with pytest.raises(KeyboardInterrupt):
            submit_things(site, options)
    assert submit_things(site, options)["state"] == "completed"
    assert len(stored_ids(site)) == 1


def test_a_key_of_a_slot_is_not_for_others(site: Site) -> None:
    with pytest.raises(UsageError, match="are for the slots of schedules"):
        submit_things(site, SubmitOptions(key="schedule/things/2026-11-22T01:00:00+00:00"))
