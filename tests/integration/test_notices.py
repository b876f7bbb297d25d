"""Notifications: told once for each event, again until they are taken, and never in the way of the work."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from orchestrator.base.notices import NoticeEvent
from orchestrator.base.states import HoldCode
from orchestrator.engine import stakes
from orchestrator.engine.local import LocalDriver
from orchestrator.notices.message import signature
from orchestrator.operations.opening import open_engine
from orchestrator.operations.retrying import retry
from orchestrator.sandbox import Sandbox
from orchestrator.store import caps, outbox
from orchestrator.store.accounts import Scope
from orchestrator.store.caps import Limit
from orchestrator.store.database import Connection, Database
from orchestrator.store.deliveries import GIVE_UP_SECONDS, troubled_notices
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.tables import batches, jobs, notifications, schedule_runs, schedules

from .engine_site import BATCH, Site, make_site
from .notice_sink import Sink, listening
from .store_rows import account, claim, make_batch, row

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
KEY = b"012345678901234567890123"
SLOT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, webhook_secret=SECRET)


def notify(database: Database, *entries: dict[str, Any], batch_id: str = BATCH) -> None:
    """What the batch's manifest says under `notify`."""
    with database.begin() as connection:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(notify=list(entries)))


def stored(database: Database) -> list[Any]:
    with database.begin() as connection:
        return list(connection.execute(select(notifications).order_by(notifications.c.created_at)).all())


def events(database: Database) -> list[str]:
    return [notice.event for notice in stored(database)]


def make_due(database: Database) -> None:
    """As if the time until the next try had passed."""
    with database.begin() as connection:
        connection.execute(update(notifications).values(due_at=text("now() - interval '1 second'")))


async def send_all(site: Site, scope: Scope) -> None:
    """What any command does that works batches."""
    async with open_engine(site.settings, site.database, site.provider, scope):
        pass


async def test_a_finished_batch_is_told_once_signed_and_before_the_process_ends(site: Site, sink: Sink) -> None:
    scope = site.make_batch(2)
    notify(site.database, {"webhook": sink.url})
    await site.run(scope)
    await site.run(scope)
    (heard,) = sink.heard
    assert heard.json["type"] == "finished"
    data = heard.json["data"]
    assert (data["batch"], data["state"], data["jobs"]["completed"]) == (BATCH, "completed", 2)
    assert data["credits"] == {"estimated": "6", "spent": "6", "budget": None}
    (notice,) = stored(site.database)
    assert heard.headers["webhook-id"] == str(notice.id)
    timestamp = int(heard.headers["webhook-timestamp"])
    assert abs(timestamp - time.time()) < 60
    assert heard.headers["webhook-signature"] == signature(str(notice.id), timestamp, heard.content, KEY)
    assert notice.delivered_at is not None
    assert notice.ended_at is not None


async def test_a_url_of_any_length_stands_in_no_way_of_the_work(site: Site) -> None:
    long_urls = [f"https://hooks.test/{token_urlsafe(9000)}" for _ in range(2)]
    scope = site.make_batch(1)
    notify(site.database, *({"webhook": url, "on": ["finished", "held"]} for url in long_urls))
    with site.database.begin() as connection:
        put_hold(connection, BATCH, HoldCode.IN_DOUBT, "a word", "a command", blocking=False)
        lift_holds(connection, BATCH, (HoldCode.IN_DOUBT,))
    assert (await site.run(scope))["state"] == "completed"
    assert sorted(events(site.database)) == ["finished", "finished", "held", "held"]


async def test_slack_gets_its_own_form_and_each_entry_what_it_asks_for(site: Site, sink: Sink) -> None:
    scope = site.make_batch(1)
    notify(site.database, {"slack": sink.url, "on": ["finished"]}, {"webhook": f"{sink.url}/2", "on": ["held"]})
    await site.run(scope)
    (heard,) = sink.heard
    assert heard.json == {"text": f"{BATCH}: completed, 1 of 1 jobs, 3 credits spent"}


async def test_what_was_not_taken_is_sent_again_with_the_same_id(site: Site, sink: Sink) -> None:
    sink.statuses = [500, 302, 200]
    scope = site.make_batch(1)
    notify(site.database, {"webhook": sink.url})
    await site.run(scope)
    for _ in range(3):
        make_due(site.database)
        await send_all(site, scope)
    assert len(sink.heard) == 3
    assert len({heard.headers["webhook-id"] for heard in sink.heard}) == 1
    assert len({heard.content for heard in sink.heard}) == 1
    assert {heard.path for heard in sink.heard} == {"/hook/hidden-words"}  # a redirect is not followed


def test_a_killed_process_leaves_the_same_notice_to_the_next_run(
    tmp_path: Path, database: Database, database_url: str, sink: Sink
) -> None:
    job = {"id": "one", "model": "gen", "prompt": "A thing", "aspect_ratio": "1:1"}
    manifest = {"version": 1, "name": "things", "notify": [{"webhook": sink.url}], "jobs": [job]}
    (tmp_path / "things.json").write_text(json.dumps(manifest))
    sink.before_answering = lambda _: process.kill()
    process = start_submit(tmp_path, database_url)
    process.communicate(timeout=60)
    sink.before_answering = lambda _: None
    make_due(database)
    process = start_submit(tmp_path, database_url)
    shown = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert "hidden-words" not in "".join(shown)
    ids = [heard.headers["webhook-id"] for heard in sink.heard]
    assert (len(ids), ids.count(ids[0])) == (3, 2), "the first again, and the second run's own"
    assert [heard.json["data"]["sandbox"] for heard in sink.heard] == [True] * 3


def start_submit(folder: Path, database_url: str) -> subprocess.Popen[str]:
    settings = {"ORCHESTRATOR_HOME": str(folder / "home"), "ORCHESTRATOR_DATABASE_URL": database_url}
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "-v", "submit", "things.json", "--sandbox", "--alongside"],
        env=os.environ | settings,
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def test_a_slow_and_a_dead_sink_hold_up_nothing(site: Site, sink: Sink) -> None:
    answers = threading.Event()
    sink.before_answering = lambda _: answers.wait(9)
    scope = site.make_batch(6)
    dead = {"webhook": "http://127.0.0.1:1/hook", "on": ["held"]}
    notify(site.database, {"webhook": sink.url, "on": ["held"]}, dead)
    with site.database.begin() as connection:
        put_hold(connection, BATCH, HoldCode.IN_DOUBT, "a word", "a command", blocking=False)
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        await asyncio.to_thread(sink.wait_for, 1)
        await LocalDriver(engine).run()
        assert site.document()["state"] == "completed"
        assert not any(notice.delivered_at for notice in stored(site.database))
        answers.set()
    assert sum(notice.delivered_at is not None for notice in stored(site.database)) == 1


async def test_after_a_day_it_is_given_up_and_said_with_the_host_alone(
    site: Site, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.statuses = [404]
    scope = site.make_batch(1)
    notify(site.database, {"webhook": sink.url})
    with caplog.at_level(logging.DEBUG):
        document = await site.run(scope)
        assert "trying again" in caplog.text
        assert document["notifications"] == [
            {"event": "finished", "host": "127.0.0.1", "tries": 1, "error": "HTTP 404", "given_up": False}
        ]
        with site.database.begin() as connection:
            old = text(f"now() - interval '{GIVE_UP_SECONDS} seconds'")
            connection.execute(update(notifications).values(created_at=old))
        make_due(site.database)
        await send_all(site, scope)
    assert "given up" in caplog.text
    assert "hidden-words" not in caplog.text
    assert SECRET.removeprefix("whsec_") not in caplog.text
    with site.database.begin() as connection:
        (trouble,) = troubled_notices(connection, BATCH)
    assert trouble["given_up"]
    make_due(site.database)
    await send_all(site, scope)
    assert len(sink.heard) == 2


async def test_nothing_is_sent_unencrypted_to_another_machine(site: Site) -> None:
    scope = site.make_batch(1)
    notify(site.database, {"webhook": "http://hooks.test/secret"})
    await site.run(scope)
    (notice,) = stored(site.database)
    assert notice.delivered_at is None
    assert notice.ended_at is not None
    assert "https" in notice.error


async def test_two_senders_send_each_notice_once(site: Site, sink: Sink) -> None:
    scope = site.make_batch(1)
    notify(site.database, *({"webhook": f"{sink.url}/{n}"} for n in range(20)))
    await site.run(scope)
    await asyncio.gather(send_all(site, scope), send_all(site, scope))
    assert sorted(heard.path for heard in sink.heard) == sorted(f"/hook/hidden-words/{n}" for n in range(20))


def test_a_batch_that_ends_again_after_a_retry_is_told_again(site: Site, sink: Sink) -> None:
    scope = site.make_batch(["A thing that fails [sandbox:fail]"])
    notify(site.database, {"webhook": sink.url})
    asyncio.run(site.run(scope))
    retry(BATCH, site.settings, confirm=lambda _: True)
    assert sink.events() == ["finished", "finished"]
    first, second = sink.heard
    assert first.headers["webhook-id"] != second.headers["webhook-id"]


def test_a_hold_is_told_once_while_it_lasts(database: Database) -> None:
    make_batch(database, BATCH)
    notify(database, {"webhook": "https://hooks.test/a"})
    for words in ("first", "second"):
        with database.begin() as connection:
            put_hold(connection, BATCH, HoldCode.CANARY, words, "orchestrator approve")
    (notice,) = stored(database)
    assert notice.body["hold"] | {"since": None} == {
        "code": "canary",
        "since": None,
        "message": "first",
        "command": "orchestrator approve",
    }
    with database.begin() as connection:
        lift_holds(connection, BATCH, (HoldCode.CANARY,))
    with database.begin() as connection:
        put_hold(connection, BATCH, HoldCode.CANARY, "again", "orchestrator approve")
    assert events(database) == ["held", "held"]


def test_what_is_rolled_back_is_told_to_nobody(database: Database) -> None:
    make_batch(database, BATCH)
    notify(database, {"webhook": "https://hooks.test/a"})
    with suppress(ZeroDivisionError), database.begin() as connection:
        put_hold(connection, BATCH, HoldCode.CANARY, "a word", "a command")
        raise ZeroDivisionError
    assert stored(database) == []


def test_a_budget_that_is_nearly_used_is_told_once(database: Database) -> None:
    scope = make_batch(database, BATCH, jobs=10, budget=30)
    notify(database, {"webhook": "https://hooks.test/a", "on": ["budget"]})
    claim(database, scope, limit=7)
    assert stored(database) == []
    for _ in range(3):
        claim(database, scope, limit=1)
    (notice,) = stored(database)
    assert notice.body["limit"] == {"kind": "batch", "unit": "credits", "amount": "30", "used": "24"}


def test_a_cap_that_is_nearly_used_is_told_once_to_each_url(database: Database) -> None:
    account_pk = account(database)
    with database.begin() as connection:
        caps.set_caps(connection, account_pk, {"daily": Limit(Decimal(30), "credits")})
    for number in range(2):
        scope = make_batch(database, f"{BATCH[:-1]}{number}", jobs=5, name=f"things-{number}")
        notify(database, {"webhook": "https://hooks.test/a", "on": ["budget"]}, batch_id=f"{BATCH[:-1]}{number}")
        claim(database, scope)
    (notice,) = stored(database)
    assert notice.body["limit"] == {"kind": "daily", "unit": "credits", "amount": "30", "used": "30"}


async def test_files_that_may_be_lost_are_told_of_once_a_day(site: Site) -> None:
    scope = site.make_batch(2)
    await site.run(scope)
    notify(site.database, {"webhook": "https://hooks.test/a", "on": ["expiring"]})
    with site.database.begin() as connection:
        finished = batches.update().values(state="running", finished_at=None)
        connection.execute(text("ALTER TABLE batch DISABLE TRIGGER USER"))
        connection.execute(text("ALTER TABLE job DISABLE TRIGGER USER"))
        connection.execute(finished)
        soon = text("now() + interval '1 hour'")
        connection.execute(update(jobs).values(state="copying", source_expires_at=soon, due_at=soon))
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        for _ in range(2):
            engine.next_deadlines_at = 0
            await stakes.watch_deadlines(engine)
    (notice,) = stored(site.database)
    assert notice.event == "expiring"
    assert notice.body["waiting"] == 2


def add_schedule(connection: Connection, account_pk: int, heartbeat: str | None) -> int:
    values = {"name": "nightly", "manifest": "/nightly.yaml", "cron": "0 2 * * *", "tz": "UTC"}
    times = {"next_at": SLOT, "created_at": SLOT}
    made = insert(schedules).values(account_pk=account_pk, heartbeat=heartbeat, **values, **times)
    return int(connection.execute(made.returning(schedules.c.pk)).scalar_one())


async def test_a_heartbeat_goes_to_its_url_once_a_slot(site: Site, sink: Sink) -> None:
    scope = site.make_batch(1)
    with site.database.begin() as connection:
        silent = add_schedule(connection, scope.account_pk, None)
        outbox.heartbeat(connection, silent, SLOT)
        connection.execute(update(schedules).values(heartbeat=sink.url))
        for _ in range(2):
            outbox.heartbeat(connection, silent, SLOT)
    await send_all(site, scope)
    (heard,) = sink.heard
    assert (heard.method, heard.content) == ("GET", b"")


def test_a_broken_night_is_told_to_whom_the_last_good_one_named(database: Database) -> None:
    account_pk = make_batch(database, BATCH).account_pk
    notify(database, {"webhook": "https://hooks.test/a", "on": ["schedule-failed"]}, {"slack": "https://hooks.test/b"})
    with database.begin() as connection:
        schedule_pk = add_schedule(connection, account_pk, None)
        run = {"schedule_pk": schedule_pk, "slot": SLOT, "state": "submitted", "started_at": SLOT, "batch_id": BATCH}
        connection.execute(insert(schedule_runs).values(run))
        outbox.note_schedule_failed(connection, schedule_pk, SLOT.replace(day=23), "the manifest is broken")
    (notice,) = stored(database)
    assert notice.event == NoticeEvent.SCHEDULE_FAILED
    assert notice.body == {"schedule": "nightly", "slot": "2026-11-23T01:00:00Z", "message": "the manifest is broken"}
    assert row(database, notifications).batch_id is None
