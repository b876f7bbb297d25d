"""A job whose answer names several files: each is stored as soon as it can be, and none is lost with another one."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.assets.errors import DestinationFailed, SourceUnavailable
from orchestrator.assets.fetch import fetch
from orchestrator.assets.incoming import Fetched
from orchestrator.engine import copy, placing
from orchestrator.engine.local import Step, steps
from orchestrator.engine.runtime import Engine
from orchestrator.operations.opening import open_engine
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site

_ADD_ANOTHER = """
    INSERT INTO asset (job_pk, position, role, kind, source_url, source_expires_at, tags)
    SELECT job_pk, 1, role, kind, source_url || '-other', source_expires_at, tags FROM asset WHERE role = 'original'
"""
_OTHER_IS_THERE = "UPDATE asset SET source_url = replace(source_url, '-other', '')"
_FIRST_HAS_EXPIRED = """
    UPDATE asset SET source_expires_at = now() - interval '1 second' WHERE position = 0 AND role = 'original';
    UPDATE asset SET source_expires_at = now() + interval '70 hours' WHERE position = 1 AND role = 'original';
    UPDATE job SET source_expires_at = now() - interval '1 second'
"""
_ALL_EXPIRED_LONG_AGO = "UPDATE job SET source_expires_at = now() - interval '61 minutes'"
_PUT_BACK = """
    UPDATE job SET state = 'failed', error = '{}', lease_token = NULL, lease_owner = NULL, lease_until = NULL;
    UPDATE job SET state = 'pending', error = NULL, source_expires_at = NULL
"""
_HOURS_LEFT = "SELECT extract(epoch FROM source_expires_at - now()) / 3600 FROM job"
_WAIT_SECONDS = "SELECT extract(epoch FROM due_at - now()) FROM job"
_BROKEN = b"\x89PNG\r\n\x1a\ncut"
_PAGE = b"<html>busy</html>"


async def take(engine: Engine, step: Step[Any]) -> None:
    for piece in await step.claim(engine, 10):
        await step.work(engine, piece)


@dataclass(frozen=True)
class Stage:
    """A finished job with two originals, neither of which is stored; the second is not at its source."""

    site: Site
    engine: Engine

    async def copy(self) -> tuple[str, int]:
        """One try; the job's state and how many of its files are stored."""
        self.change("UPDATE job SET due_at = now()")
        await take(self.engine, steps(self.engine)[2])
        (job,) = self.site.jobs().values()
        return job["state"], len(job["assets"])

    def change(self, statement: str) -> None:
        with self.site.database.begin() as connection:
            connection.execute(text(statement))

    def read(self, query: str) -> float:
        with self.site.database.begin() as connection:
            return float(connection.execute(text(query)).scalar_one())

    @property
    def error_code(self) -> str:
        (job,) = self.site.jobs().values()
        return str(job["error"]["code"])


@asynccontextmanager
async def two_originals(folder: Path, database: Database, database_url: str) -> AsyncIterator[Stage]:
    with Sandbox(folder / "sandbox", time_scale=0) as sandbox:
        site = make_site(folder, sandbox, database, database_url)
        scope = site.make_batch(1)
        async with asyncio.timeout(30), open_engine(site.settings, database, site.provider, scope) as engine:
            submitting, polling, _ = steps(engine)
            await take(engine, submitting)
            while site.states() == ["generating"]:
                await take(engine, polling)
            stage = Stage(site, engine)
            stage.change(_ADD_ANOTHER)
            yield stage
        site.audit()


def answering(monkeypatch: pytest.MonkeyPatch, answers: dict[bool, Any]) -> None:
    """What sources give from now on, by whether it is the second one: a content or an error; else what is there."""

    async def answered(source: Any, url: str, *rest: Any, **more: Any) -> Fetched:
        answer = answers.get(url.endswith("-other"))
        if answer is None:
            return await fetch(source, url, *rest, **more)
        if isinstance(answer, Exception):
            raise answer
        return Fetched(answer, len(answer))

    monkeypatch.setattr(copy, "fetch", answered)


def failing_at(call: int, error: Exception, really: Callable[..., Any]) -> Callable[..., Any]:
    calls = 0

    def wrapped(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return really(*given, **more)

    return wrapped


async def test_a_file_that_is_gone_keeps_no_other_one_of_its_job_from_being_stored(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        assert await stage.copy() == ("copying", 1)
        stage.change(_OTHER_IS_THERE)
        assert await stage.copy() == ("completed", 2)


async def test_the_source_of_a_stored_file_may_expire_while_another_one_is_waited_for(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        stage.change(_FIRST_HAS_EXPIRED)
        assert await stage.copy() == ("copying", 1)
        assert 69 < stage.read(_HOURS_LEFT) <= 70
        assert await stage.copy() == ("copying", 1)
        stage.change(_OTHER_IS_THERE)
        assert await stage.copy() == ("completed", 2)


async def test_what_is_stored_stays_stored_though_its_job_fails_for_another_file(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        assert await stage.copy() == ("copying", 1)
        stage.change(_ALL_EXPIRED_LONG_AGO)
        assert await stage.copy() == ("failed", 1)
        assert stage.error_code == "asset-expired"


async def test_a_job_that_was_put_back_meanwhile_is_left_alone(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        copying = steps(stage.engine)[2]
        (work,) = await copying.claim(stage.engine, 1)
        stage.change(_PUT_BACK)
        await copying.work(stage.engine, work)
        assert (stage.site.states(), stage.read("SELECT copy_failures FROM job")) == (["pending"], 0)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("step", ["verify", "_stored"])
async def test_a_fault_of_ours_in_one_file_loses_no_other_one_of_its_job(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, step: str, first: int
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        stage.change(_OTHER_IS_THERE)
        really = getattr(placing, step)
        monkeypatch.setattr(placing, step, failing_at(first, ValueError("a surprise"), really))
        assert await stage.copy() == ("copying", 1)
        monkeypatch.setattr(placing, step, failing_at(1, ValueError("again"), really))
        stage.change(_ALL_EXPIRED_LONG_AGO)
        assert await stage.copy() == ("failed", 1)
        assert stage.error_code == "unknown"


async def test_a_fault_of_ours_while_one_file_is_fetched_loses_no_other_one_of_its_job(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        answering(monkeypatch, {True: OSError("a surprise")})
        assert await stage.copy() == ("copying", 1)


async def test_a_destination_that_fails_is_told_though_another_file_met_a_fault_of_ours(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        stage.change(_ALL_EXPIRED_LONG_AGO)
        answering(monkeypatch, {True: OSError("a surprise")})
        monkeypatch.setattr(placing, "_stored", failing_at(1, DestinationFailed("no"), placing._stored))
        assert await stage.copy() == ("copying", 0)
        assert stage.read("SELECT count(*) FROM job WHERE copy_error = 'no'") == 1


@pytest.mark.parametrize("wishes", [(None, 120), (120, None), (5, 120)])
async def test_the_longest_wish_of_the_sources_of_a_job_is_heeded(
    tmp_path: Path,
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    wishes: tuple[float | None, float | None],
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        busy = [SourceUnavailable("busy", retry_after_seconds=wish) for wish in wishes]
        answering(monkeypatch, dict(zip((False, True), busy, strict=True)))
        assert await stage.copy() == ("copying", 0)
        assert 100 < stage.read(_WAIT_SECONDS) <= 120


@pytest.mark.parametrize("other", [DestinationFailed, ValueError])
async def test_the_wish_of_a_source_is_heeded_whatever_else_fails(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, other: type[Exception]
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        answering(monkeypatch, {True: SourceUnavailable("busy", retry_after_seconds=120)})
        monkeypatch.setattr(placing, "_stored", failing_at(1, other("no"), placing._stored))
        assert await stage.copy() == ("copying", 0)
        assert 100 < stage.read(_WAIT_SECONDS) <= 120


@pytest.mark.parametrize("is_second_broken", [False, True])
async def test_a_file_that_never_decodes_ends_no_tries_that_another_one_is_worth(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, is_second_broken: bool
) -> None:
    async with two_originals(tmp_path, database, database_url) as stage:
        answering(monkeypatch, {is_second_broken: _BROKEN, not is_second_broken: _PAGE})
        tries = 1
        while await stage.copy() == ("copying", 0):
            tries += 1
        assert (tries, stage.error_code) == (20, "asset-corrupt")


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_try_that_failed_keeps_nothing_of_what_it_fetched_in_memory(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    def refused(*_: Any) -> Any:
        raise DestinationFailed("no")

    async with two_originals(tmp_path, database, database_url) as stage:
        if not is_taken:
            monkeypatch.setattr(placing, "_stored", refused)
        gc.collect()
        gc.disable()
        try:
            await stage.copy()
            assert not [
                each for each in gc.get_objects() if type(each) is Fetched
            ]  # not isinstance: it wakes lazy objects up
        finally:
            gc.enable()
