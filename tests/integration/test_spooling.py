"""Files of the spool that nobody waits for any more are deleted, and no others."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text, update

from orchestrator.assets.errors import SpoolFailed
from orchestrator.engine.spooling import open_spool
from orchestrator.operations.opening import open_engine
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import jobs

from .engine_site import BATCH, make_site
from .store_rows import force_jobs, make_batch, put_asset, put_submission

STATES = ("copying", "copying", "copying", "failed", "completed")


def put_files(connection: Connection) -> list[int]:
    """The rows of one file for each job: waiting, being copied, stored though its job is not, lost, stored."""
    pks = connection.execute(jobs.select().where(jobs.c.batch_id == BATCH).order_by(jobs.c.ordinal)).all()
    stored = {"stored_at": text("now()"), "key": "k", "uri": "file:///k", "sha256": "0" * 64, "bytes": 1}
    stored |= {"mime_type": "image/png"}
    made = [put_asset(connection, row.pk, **(stored if row.ordinal in (2, 4) else {})) for row in pks]
    leased = {"lease_token": uuid4(), "lease_owner": 1, "lease_until": text("now() + interval '1 h'")}
    connection.execute(update(jobs).where(jobs.c.pk == pks[1].pk).values(leased))
    return made


def make_files(database: Database, folder: Path) -> dict[str, str]:
    """Files of 10 bytes in a spool, by what they are."""
    scope = make_batch(database, jobs=len(STATES))
    with database.begin() as connection:
        force_jobs(connection, BATCH, STATES, put_submission(connection, BATCH, scope.account_pk, "resolved"))
        pks = put_files(connection)
    named = dict(zip(("waiting", "leased", "stored", "lost", "completed"), pks, strict=True))
    names = {what: f"{BATCH}-{pk}" for what, pk in named.items()}
    names |= {"retried": f"{BATCH}-{max(pks) + 9}", "elsewhere": "things-20200101-0001-1", "alien": "notes"}
    folder.mkdir()
    for name in names.values():
        (folder / name).write_bytes(b"0123456789")
    return names


KEPT = ("waiting", "leased", "elsewhere", "alien")


def test_a_spool_is_opened_without_what_nobody_waits_for(database: Database, tmp_path: Path) -> None:
    names = make_files(database, tmp_path / "spool")
    open_spool(tmp_path / "spool", database, cap_bytes=10**6, memory_bytes=1)
    assert {path.name for path in (tmp_path / "spool").iterdir()} == {names[what] for what in KEPT}


def test_a_full_spool_is_swept_before_it_refuses(database: Database, tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", database, cap_bytes=50, memory_bytes=1)
    (tmp_path / "spool").rmdir()
    names = make_files(database, tmp_path / "spool")
    spool.require_room()
    assert spool.usage_bytes() == 10 * len(KEPT)
    (tmp_path / "spool" / names["alien"]).write_bytes(b"x" * 20)
    with pytest.raises(SpoolFailed, match=r"spool is full: it holds 50 of at most 50"):
        spool.require_room()


async def test_what_another_machine_completed_is_not_kept_here(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url, stall_after=0.5)
        scope = site.make_batch(2)
        site.out.write_text("in the way")
        assert (await site.run(scope))["state"] == "held"
        spool = site.settings.home / "spool"
        assert len(list(spool.iterdir())) >= 2, "verified files wait here"
        site.out.unlink()
        other = replace(site, settings=site.settings.model_copy(update={"home": tmp_path / "elsewhere"}))
        assert (await other.resume(scope))["state"] == "completed"
        assert len(list(spool.iterdir())) >= 2
        async with open_engine(site.settings, database, site.provider, scope):
            assert list(spool.iterdir()) == []
        site.audit()
