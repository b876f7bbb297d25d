"""Schedules: each slot gives one batch, whatever is missed, doubled, killed, paused or broken."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from orchestrator.assets import s3
from orchestrator.base import faults
from orchestrator.base.errors import ManifestError, SpendRefused, UsageError
from orchestrator.operations import scheduling, ticking
from orchestrator.operations.approving import approve
from orchestrator.operations.resuming import resume
from orchestrator.operations.scheduling import Times
from orchestrator.operations.steering import pause as pause_batch
from orchestrator.operations.ticking import Ticker
from orchestrator.sandbox import Sandbox
from orchestrator.store import accounts, job_reads, reads, slots
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.tables import batches, notifications, schedule_runs, schedules

from .engine_site import Site, make_site

NIGHTLY = Times("30 2 * * *", "Europe/Berlin")
#: The evening before a night, and the same a few nights later: the slot of each is 1:30 UTC.
EVENING = datetime(2026, 11, 23, 20, tzinfo=UTC)


@dataclass
class Nights:
    """A site whose database has a clock of ours, and one scheduled manifest."""

    site: Site

    @property
    def manifest(self) -> Path:
        return self.site.folder / "things.json"

    def write(self, prompts: int = 1, word: str = "thing", **more: Any) -> Path:
        jobs = [
            {"id": f"job-{n}", "model": "gen", "prompt": f"A {word} {n}", "aspect_ratio": "1:1"} for n in range(prompts)
        ]
        document = {"version": 1, "name": "things", "budget": {"credits": 500}, "jobs": jobs} | more
        self.manifest.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
        return self.manifest

    def at(self, instant: datetime) -> None:
        """Set the database's clock; it goes on from there."""
        offset = (instant - datetime.now(UTC)).total_seconds()
        with self.site.database.begin() as connection:
            connection.execute(
                text(
                    "CREATE OR REPLACE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS "
                    f"$$ SELECT statement_timestamp() + interval '{offset} seconds' $$"
                )
            )

    def add(self, times: Times = NIGHTLY) -> dict[str, Any]:
        return scheduling.add_schedule(self.manifest, self.site.settings, times)

    def ticker(self, database: Database | None = None) -> Ticker:
        provider, database = self.site.provider, database or self.site.database
        with database.begin() as connection:
            account_pk = accounts.account_pk(connection, provider.origin, provider.account)
        return Ticker(self.site.settings, database, account_pk)

    def tick(self, instant: datetime | None = None) -> None:
        if instant is not None:
            self.at(instant)
        self.ticker().tick()

    def work(self) -> None:
        """Work all that is open until nothing of it moves."""
        resume(None, self.site.settings, confirm=lambda *_: True)

    def night(self, day: int) -> dict[str, Any]:
        """A night of November: its slot comes, and what it submits is worked. Returns its run."""
        self.tick(datetime(2026, 11, day, 1, 30, 5, tzinfo=UTC))
        self.work()
        return self.runs()[-1]

    def runs(self) -> list[dict[str, Any]]:
        with self.site.database.begin() as connection:
            found = connection.execute(select(schedule_runs).order_by(schedule_runs.c.slot))
            return [dict(row) for row in found.mappings()]

    def slots(self) -> list[str]:
        return [f"{run['slot']:%m-%d %H:%M}" for run in self.runs()]

    def listed(self) -> dict[str, Any]:
        [document] = scheduling.list_schedules(self.site.settings)
        return document

    def batches(self) -> int:
        with self.site.database.begin() as connection:
            return int(connection.execute(select(func.count()).select_from(batches)).scalar_one())

    def batch(self, batch_id: str) -> Any:
        with self.site.database.begin() as connection:
            return connection.execute(select(batches).where(batches.c.id == batch_id)).one()


@pytest.fixture
def nights(tmp_path: Path, database: Database, database_url: str) -> Iterator[Nights]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))
        made = Nights(site)
        made.write()
        made.at(EVENING)
        yield made


def test_a_slot_that_has_come_gives_one_batch_under_its_key(nights: Nights) -> None:
    document = nights.add()
    assert (document["next_slot"], document["last"]) == ("2026-11-24T01:30:00Z", None)
    nights.tick()
    assert nights.runs() == []
    nights.tick(datetime(2026, 11, 24, 1, 30, 1, tzinfo=UTC))
    nights.tick()
    [run] = nights.runs()
    assert (run["state"], run["new_credits"], run["message"]) == ("submitted", Decimal(3), None)
    assert nights.batch(run["batch_id"]).submit_key == "schedule/things/2026-11-24T01:30:00+00:00"
    listed = nights.listed()
    assert listed["next_slot"] == "2026-11-25T01:30:00Z"
    assert (listed["last"]["batch"], listed["last"]["batch_state"]) == (run["batch_id"], "running")


@pytest.mark.parametrize(
    ("evening", "expected"),
    [
        (datetime(2026, 3, 28, 23, tzinfo=UTC), ["03-29 01:00", "03-30 00:30"]),
        (datetime(2026, 10, 24, 23, tzinfo=UTC), ["10-25 00:30", "10-26 01:30"]),
    ],
    ids=["spring", "autumn"],
)
def test_a_night_on_which_the_clocks_change_has_one_run(nights: Nights, evening: datetime, expected: list[str]) -> None:
    nights.at(evening)
    nights.add()
    for minutes in (*range(0, 300, 30), *range(1440, 1740, 30)):
        nights.tick(evening + timedelta(minutes=minutes))
        if nights.listed()["last"] and nights.listed()["last"]["batch_state"] == "running":
            nights.work()
    assert nights.slots() == expected
    assert {run["state"] for run in nights.runs()} == {"submitted"}


def test_of_missed_nights_the_last_one_is_run_and_says_so(nights: Nights) -> None:
    nights.add()
    assert nights.listed()["overdue_seconds"] is None
    nights.at(datetime(2026, 11, 24, 2, 30, tzinfo=UTC))
    assert 3600 <= nights.listed()["overdue_seconds"] < 3700
    nights.tick(datetime(2026, 11, 27, 9, 0, tzinfo=UTC))
    nights.tick()
    [run] = nights.runs()
    assert nights.slots() == ["11-27 01:30"]
    assert nights.listed()["overdue_seconds"] is None
    assert run["message"] == "begun 7 h 30 min late, 3 slots before it passed unrun"
    assert nights.batches() == 1


def test_two_tickers_submit_once(nights: Nights, database_url: str) -> None:
    nights.add()
    nights.at(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    others = [Database(database_url, actor=f"ticker-{n}") for n in range(4)]
    begin = threading.Barrier(len(others))

    def tick(database: Database) -> None:
        ticker = nights.ticker(database)
        begin.wait()
        ticker.tick()

    threads = [threading.Thread(target=tick, args=[database]) for database in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for database in others:
        database.close()
    nights.tick()
    assert [run["state"] for run in nights.runs()] == ["submitted"]
    assert nights.batches() == 1


def test_a_clock_that_jumps_back_runs_no_slot_again(nights: Nights) -> None:
    nights.add()
    for hour in (1, 0, 1):
        nights.tick(datetime(2026, 11, 24, hour, 31, tzinfo=UTC))
        nights.work()
    assert nights.slots() == ["11-24 01:30"]


class Killed(BaseException):
    """The process ends here."""


def test_killed_after_any_commit_the_slot_is_taken_up_again_and_gives_one_batch(nights: Nights) -> None:
    nights.add()
    for boundary in count():
        nights.at(datetime(2026, 12, 1, 1, 31, tzinfo=UTC) + timedelta(days=boundary))
        seen = count()

        def kill(point: str, seen: Iterator[int] = seen, boundary: int = boundary) -> None:
            if point == "db.committed" and next(seen) == boundary:
                raise Killed

        was_killed = False
        faults.install(kill)
        try:
            nights.tick()
        except Killed:
            was_killed = True
        finally:
            faults.install(None)
        nights.tick()
        assert [run["state"] for run in nights.runs()] == ["submitted"] * (boundary + 1)
        assert nights.batches() == boundary + 1
        pause_batch(nights.runs()[-1]["batch_id"], nights.site.settings)  # or it would be in the way
        if not was_killed:
            break
    assert boundary > 5


def test_what_was_broken_off_makes_way_for_the_next_night(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    nights.add()

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ticking, "submit", killed)
        with pytest.raises(Killed):
            nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["started"]
    nights.tick(datetime(2026, 11, 25, 1, 31, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["skipped", "submitted"]
    assert nights.batches() == 1


def test_a_paused_schedule_rests_and_does_not_catch_up(nights: Nights) -> None:
    nights.add()
    assert scheduling.pause_schedule("things", nights.site.settings)["next_slot"] is None
    nights.tick(datetime(2026, 11, 25, 9, tzinfo=UTC))
    assert scheduling.resume_schedule("things", nights.site.settings)["next_slot"] == "2026-11-26T01:30:00Z"
    nights.tick()
    assert nights.runs() == []
    nights.tick(datetime(2026, 11, 26, 1, 30, 1, tzinfo=UTC))
    assert nights.slots() == ["11-26 01:30"]


def test_a_removed_schedule_runs_no_more_and_leaves_its_batches(nights: Nights) -> None:
    nights.add()
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    assert scheduling.remove_schedule("things", nights.site.settings)["state"] == "removed"
    nights.tick(datetime(2026, 11, 25, 1, 31, tzinfo=UTC))
    assert (nights.runs(), nights.batches()) == ([], 1)
    with pytest.raises(UsageError, match="no schedule 'things'"):
        scheduling.remove_schedule("things", nights.site.settings)
    nights.add()
    assert nights.listed()["last"] is None


def test_a_batch_that_still_moves_is_in_the_way_and_one_that_is_held_is_not(nights: Nights) -> None:
    nights.add()
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    nights.tick(datetime(2026, 11, 25, 1, 31, tzinfo=UTC))
    first, second = nights.runs()
    assert (second["state"], second["batch_id"]) == ("skipped", None)
    assert first["batch_id"] in second["message"]
    pause_batch(first["batch_id"], nights.site.settings)
    nights.tick(datetime(2026, 11, 26, 1, 31, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["submitted", "skipped", "submitted"]


def test_what_a_held_batch_has_not_sent_is_left_to_the_next_night_and_bought_once(nights: Nights) -> None:
    nights.add()
    nights.write(3)
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    first = nights.runs()[-1]["batch_id"]
    pause_batch(first, nights.site.settings)
    jobs = [{"id": f"job-{n}", "model": "gen", "prompt": f"A thing {n}", "aspect_ratio": "1:1"} for n in (1, 2, 3)]
    nights.write(jobs=jobs)  # the first one is gone, another is new
    nights.tick(datetime(2026, 11, 25, 1, 31, tzinfo=UTC))
    second = nights.runs()[-1]["batch_id"]
    with nights.site.database.begin() as connection:
        states = {one["id"]: one["state"] for one in job_reads.job_documents(connection, first)}
        documents = [reads.batch_document(connection, batch_id) for batch_id in (first, second)]
    assert states == {"job-0": "pending", "job-1": "skipped", "job-2": "skipped"}
    assert [document["state"] for document in documents] == ["paused", "running"]
    nights.work()
    assert nights.site.asked("stats")["posts"] == 4
    assert {nights.batch(batch_id).state for batch_id in (first, second)} == {"completed"}


def test_what_a_held_batch_has_paid_for_and_not_stored_is_not_bought_by_the_next_night(nights: Nights) -> None:
    nights.site.settings = nights.site.settings.model_copy(update={"stall_after": 0.2})
    hero = {"id": "hero", "model": "gen", "prompt": "A hero shot", "aspect_ratio": "1:1"}
    wide = {"id": "wide", "model": "nano-banana-2", "prompt": "Wider", "aspect_ratio": "16:9"}
    nights.write(jobs=[hero, wide | {"image_urls": [{"from": "hero"}]}])
    nights.add()
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    out, away = nights.site.out, nights.site.folder / "away"
    out.rename(away)
    out.write_text("not a folder")
    nights.work()
    first = nights.runs()[-1]["batch_id"]
    assert (nights.batch(first).state, nights.site.asked("stats")["posts"]) == ("held", 1)
    out.unlink()
    away.rename(out)
    second = nights.night(25)["batch_id"]
    assert nights.batch(second).state == "completed"
    nights.work()
    assert nights.batch(first).state == "completed"
    third = nights.night(26)["batch_id"]
    with nights.site.database.begin() as connection:
        second_jobs, third_jobs = (list(job_reads.job_documents(connection, batch_id)) for batch_id in (second, third))
    assert [job["state"] for job in second_jobs] == ["skipped", "skipped"]
    assert [(job["state"], job["reused_from"]) for job in third_jobs] == [("completed", first)] * 2
    assert nights.site.asked("stats")["posts"] == 2


def test_the_manifest_is_read_afresh_and_a_broken_one_is_reported(nights: Nights) -> None:
    nights.add()
    assert nights.night(24)["state"] == "submitted"
    stored = sorted(nights.site.out.rglob("*.jpg"))
    nights.write(
        word="better thing", jobs=[{"id": "x", "model": "nothing", "prompt": "A thing", "aspect_ratio": "1:1"}]
    )
    broken = nights.night(25)
    assert (broken["state"], broken["batch_id"]) == ("failed", None)
    assert "error[unknown-model]" in broken["message"]
    assert nights.listed()["last"]["state"] == "failed"
    nights.manifest.unlink()
    assert "error[manifest-unreadable]" in nights.night(26)["message"]
    nights.write(budget=None)
    assert "no `budget`" in nights.night(27)["message"]
    nights.write(name="other-things")
    assert "was scheduled as things" in nights.night(28)["message"]
    assert sorted(nights.site.out.rglob("*.jpg")) == stored
    nights.write(2, "better thing")
    assert (nights.night(29)["state"], nights.batches()) == ("submitted", 2)


def test_a_night_with_more_than_three_times_the_usual_work_waits_for_a_word(nights: Nights) -> None:
    nights.add()
    for day in (24, 25, 26):
        nights.write(2, f"thing of night {day}")
        assert nights.night(day)["message"] is None
    nights.write(6, "thing of night 27")
    assert nights.night(27)["message"] is None  # three times is not more than three times
    nights.write(7, "thing of night 28")
    run = nights.night(28)
    assert run["state"] == "submitted"
    assert run["message"].startswith("held: 21 credits of new work")
    assert nights.batch(run["batch_id"]).state == "held"
    assert nights.listed()["last"]["batch_state"] == "held"
    approved = approve(run["batch_id"], nights.site.settings, confirm=lambda quote: quote.credits == 21)
    assert (approved["state"], approved["credits"]["spent"]) == ("completed", "21")
    nights.write(2, "thing of night 29")
    assert nights.night(29)["message"] is None


def test_each_night_beats_and_a_night_without_a_batch_is_told(nights: Nights) -> None:
    nights.add()
    with nights.site.database.begin() as connection:
        connection.execute(update(schedules).values(heartbeat="https://beats.test/secret"))
    nights.night(24)
    with nights.site.database.begin() as connection:
        told = [{"webhook": "https://hooks.test/secret", "on": ["schedule-failed"]}]
        connection.execute(update(batches).values(notify=told))
    nights.manifest.unlink()
    nights.night(25)
    with nights.site.database.begin() as connection:
        found = connection.execute(select(notifications).order_by(notifications.c.created_at)).all()
    assert [(row.event, row.url) for row in found] == [
        ("heartbeat", "https://beats.test/secret"),
        ("schedule-failed", "https://hooks.test/secret"),
    ]
    assert (found[1].body["schedule"], found[1].body["slot"]) == ("things", "2026-11-25T01:30:00Z")
    assert "manifest-unreadable" in found[1].body["message"]


def test_an_outage_is_waited_out_and_then_given_up(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "_RETRY_SECONDS", 0.0)
    nights.add()
    out, blocked = nights.site.out, nights.site.folder / "away"
    out.mkdir(exist_ok=True)
    out.rename(blocked)
    out.write_text("not a folder")  # the destination cannot be used
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["started"]
    out.unlink()
    blocked.rename(out)
    nights.tick(datetime(2026, 11, 24, 1, 50, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["submitted"]
    nights.work()
    out.rename(blocked)
    out.write_text("not a folder")
    nights.write(word="other thing")
    nights.tick(datetime(2026, 11, 25, 1, 31, tzinfo=UTC))
    nights.tick(datetime(2026, 11, 25, 2, 32, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["submitted", "failed"]


def test_a_store_that_is_away_is_waited_for(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "_RETRY_SECONDS", 0.0)
    for name, value in (
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_ACCESS_KEY_ID", "AKIATESTONLY"),
        ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
    ):
        monkeypatch.setenv(name, value)
    s3.s3_client.cache_clear()
    nights.add()
    with nights.site.database.begin() as connection:
        connection.execute(update(schedules).values(manifest="s3://away/things.json"))
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    assert [run["state"] for run in nights.runs()] == ["started"]
    nights.tick(datetime(2026, 11, 24, 2, 32, tzinfo=UTC))
    [run] = nights.runs()
    assert (run["state"], "error[manifest-unreadable]" in run["message"]) == ("failed", True)
    s3.s3_client.cache_clear()


@pytest.mark.parametrize("trouble", [RuntimeError("nobody foresaw it"), OutOfReach("gone"), OSError(24, "no files")])
def test_a_look_that_fails_is_not_the_last_one(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(ticking, "_LOOK_SECONDS", 0.02)
    troubles, looked = [trouble], threading.Event()

    def due(*_: object) -> list[int]:
        if troubles:
            raise troubles.pop()
        looked.set()
        return []

    monkeypatch.setattr(slots, "due", due)
    ticker = nights.ticker()
    ticker.start()
    assert looked.wait(10)
    ticker.stop()
    ticker.join()


def test_a_fault_of_ours_is_told_and_ends_the_run(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise RuntimeError("nobody foresaw it")

    nights.add()
    monkeypatch.setattr(ticking, "submit", stumble)
    nights.tick(datetime(2026, 11, 24, 1, 31, tzinfo=UTC))
    [run] = nights.runs()
    assert (run["state"], "a fault of ours (RuntimeError)" in run["message"]) == ("failed", True)


def test_add_wants_a_budget_times_and_a_valid_manifest(nights: Nights) -> None:
    nights.write(budget=None)
    with pytest.raises(SpendRefused, match="no `budget`") as refused:
        nights.add()
    assert "budget: {credits: 500}" in str(refused.value.hint)
    nights.write()
    with pytest.raises(UsageError, match="does not say when"):
        nights.add(Times())
    with pytest.raises(UsageError, match="five fields"):
        nights.add(Times("hourly"))
    with pytest.raises(UsageError, match="time zone"):
        nights.add(Times("0 2 * * *", "Mars/Base"))
    nights.write(jobs=[])
    with pytest.raises(ManifestError, match="nothing was scheduled"):
        nights.add()
    nights.write()
    nights.add()
    with pytest.raises(UsageError, match="already"):
        nights.add()


def test_the_manifest_says_when_and_apply_follows_it(nights: Nights) -> None:
    def apply() -> dict[str, Any]:
        return scheduling.apply_schedules([nights.manifest], nights.site.settings)[0]

    nights.write(schedule={"cron": "0 4 * * *", "tz": "UTC", "heartbeat": "https://beats.test/secret"})
    added = apply()
    assert (added["change"], added["next_slot"]) == ("added", "2026-11-24T04:00:00Z")
    assert "secret" not in json.dumps(added)
    assert apply()["change"] == "unchanged"
    nights.write(schedule={"cron": "0 4 * * *", "tz": "Europe/Berlin"})
    changed = apply()
    assert (changed["change"], changed["next_slot"]) == ("changed", "2026-11-24T03:00:00Z")
    nights.write(schedule={"cron": "0 4 * * *", "tz": "Europe/Berlin"}, name="others")
    assert apply()["change"] == "added"
    assert [one["name"] for one in scheduling.list_schedules(nights.site.settings)] == ["others", "things"]
    scheduling.remove_schedule("others", nights.site.settings)
    over_it = scheduling.add_schedule(nights.manifest, nights.site.settings, Times("30 5 * * *"))
    assert (over_it["cron"], over_it["tz"]) == ("30 5 * * *", "Europe/Berlin")


def test_with_a_broker_every_worker_has_to_be_able_to_read_the_manifest(nights: Nights) -> None:
    nights.site.settings = nights.site.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with pytest.raises(UsageError, match="any worker") as refused:
        nights.add()
    assert "s3://" in str(refused.value.hint)


def test_run_now_asks_buys_and_leaves_the_times_as_they_are(nights: Nights) -> None:
    nights.add()
    settings = nights.site.settings
    with pytest.raises(SpendRefused, match="not confirmed"):
        scheduling.run_schedule_now("things", settings, confirm=lambda _: False)
    assert (nights.batches(), nights.runs()) == (0, [])
    document = scheduling.run_schedule_now("things", settings, confirm=lambda planned: planned.estimate == 3)
    assert document["state"] == "completed"
    listed = nights.listed()
    assert (listed["last"]["batch"], listed["last"]["message"]) == (document["batch"], "run by hand")
    assert listed["next_slot"] == "2026-11-24T01:30:00Z"
