"""A job whose answer names several files: each is stored as soon as it can be."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import text

from orchestrator.engine.local import Step, steps
from orchestrator.engine.runtime import Engine
from orchestrator.operations.opening import open_engine
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import make_site

_ADD_ONE_THAT_IS_GONE = """
    INSERT INTO asset (job_pk, position, role, kind, source_url, source_expires_at, tags)
    SELECT job_pk, 1, role, kind, source_url || '-gone', source_expires_at, tags FROM asset WHERE role = 'original'
"""
_IT_IS_BACK = """
    UPDATE asset SET source_url = replace(source_url, '-gone', '');
    UPDATE job SET due_at = now()
"""


async def take(engine: Engine, step: Step[Any]) -> None:
    for piece in await step.claim(engine, 10):
        await step.work(engine, piece)


async def test_a_file_that_is_gone_keeps_no_other_one_of_its_job_from_being_stored(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "sandbox", time_scale=0) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url)
        scope = site.make_batch(1)
        async with asyncio.timeout(30), open_engine(site.settings, database, site.provider, scope) as engine:
            submitting, polling, copying = steps(engine)
            await take(engine, submitting)
            while site.states() == ["generating"]:
                await take(engine, polling)
            for change, state, stored in ((_ADD_ONE_THAT_IS_GONE, "copying", 1), (_IT_IS_BACK, "completed", 2)):
                with database.begin() as connection:
                    connection.execute(text(change))
                await take(engine, copying)
                (job,) = site.jobs().values()
                assert (job["state"], len(job["assets"])) == (state, stored)
        site.audit()
