"""Celery as the driver: real workers, a Redis that is flushed, killed or read twice, and the provider's own ledger."""

import os
import re
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from orchestrator.operations.recovering import recover
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database

from .celery_site import PRICE, Site, make_site
from .notice_sink import listening
from .redis_server import RedisServer, require_redis

pytestmark = pytest.mark.redis
JOBS = 20
ALONE = ["--without-mingle", "--without-gossip"]
PREFORK = ["--pool", "processes", "--concurrency", "2"]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    require_redis()
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def site(
    tmp_path: Path, database: Database, database_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.05) as sandbox:
        yield make_site(tmp_path, database, database_url, redis_server.url, sandbox, monkeypatch)


def assert_all_stored_and_paid_once(site: Site, batch_id: str) -> None:
    document = site.wait_ended(batch_id)
    assert (document["state"], document["jobs"]["completed"]) == ("completed", JOBS)
    assert len(site.originals()) == JOBS
    assert site.charged() == Decimal(document["credits"]["spent"]) == JOBS * PRICE
    assert site.stats()["posts"] == JOBS
    assert site.stats()["max_in_flight"] <= site.settings.max_in_flight


def test_work_goes_on_when_redis_loses_everything_and_when_it_is_restarted(
    site: Site, redis_server: RedisServer
) -> None:
    batch_id = site.submit(JOBS)
    with site.worker(*ALONE):
        site.wait_stored(batch_id, 3)
        redis_server.flush()
        site.wait_stored(batch_id, 8)
        redis_server.kill()
        redis_server.start()
        assert_all_stored_and_paid_once(site, batch_id)


def test_a_killed_worker_is_replaced_and_nothing_is_paid_twice(site: Site) -> None:
    site.sandbox.play(Faults(rules=[FaultRule(at="submit", kind="slow", times=None, seconds=0.2)]))
    batch_id = site.submit(JOBS)
    with site.worker(name="first") as first:
        site.wait_stored(batch_id, 3)
        first.kill()
    with site.worker(name="second"):
        document = site.wait_ended(batch_id)
    jobs, charges = document["jobs"], site.sandbox.charges()
    # more than a tenth of the batch in doubt: the rest is not sent
    unsent = jobs["pending"] if jobs["in_doubt"] > JOBS // 10 else 0
    assert jobs["completed"] + jobs["in_doubt"] + unsent == JOBS
    assert len(charges) <= site.stats()["posts"] <= JOBS
    assert Decimal(document["credits"]["spent"]) == jobs["completed"] * PRICE
    assert len(site.originals()) == jobs["completed"]


def test_two_workers_and_doubled_hints_pay_once(site: Site) -> None:
    batch_id = site.submit(JOBS)
    one, two = site.worker(name="one"), site.worker(*PREFORK, name="two")
    with one, two, site.celery("beat", name="beat"):
        for stored in (0, 3, 8):
            site.wait_stored(batch_id, stored)
            for _ in range(5):
                site.hint_at_everything()
        assert_all_stored_and_paid_once(site, batch_id)


def test_a_chain_is_released_and_sent_by_workers(site: Site) -> None:
    film = {"type": "video", "model": "ltx-2-3", "prompt": "A turn", "duration_seconds": 5}
    batch_id = site.submit(
        [
            {"id": "hero", "prompt": "A thing"},
            film | {"id": "turn", "video_image_data": {"first_frame_image_url": {"from": "hero"}}},
            {"id": "failure", "prompt": "No thing [sandbox:fail]"},
            {"id": "nothing", "prompt": "A thing of no thing", "image_urls": [{"from": "failure"}]},
        ]
    )
    with site.worker(*ALONE):
        document = site.wait_ended(batch_id)
    counts = document["jobs"]
    assert (document["state"], counts["completed"], counts["failed"], counts["skipped"]) == ("partial_failure", 2, 1, 1)
    assert document["credits"]["spent"] == "23"


def test_workers_tell_of_what_happens_and_log_no_url(site: Site) -> None:
    with listening() as sink:
        batch_id = site.submit(2, notify=[{"webhook": sink.url}])
        with site.worker("--loglevel", "DEBUG", name="one"), site.worker(*PREFORK, name="two"):
            (heard,) = sink.wait_for(1, seconds=60)
            assert (heard.json["type"], heard.json["data"]["batch"]) == ("finished", batch_id)
            assert not any("hidden-words" in log.read_text() for log in site.folder.glob("*.log"))
        assert len(sink.heard) == 1


@pytest.mark.parametrize(
    ("pool", "number"),
    [([], signal.SIGTERM), (PREFORK, signal.SIGTERM), (PREFORK, signal.SIGHUP)],
    ids=["threads", "prefork", "dropped session"],
)
@pytest.mark.usefixtures("usual_hangup")
def test_a_stop_waits_for_the_answers_to_paid_posts_and_is_told_of_meanwhile(
    site: Site, pool: list[str], number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_METRICS_ADDRESS", "127.0.0.1:0")
    site.sandbox.play(Faults(rules=[FaultRule(at="submit", kind="slow", times=None, seconds=1.0)]))
    batch_id = site.submit(JOBS)
    with site.worker("--loglevel", "INFO", *pool) as worker:
        site.wait(batch_id, lambda document: document["jobs"]["submitting"] > 0 and site.stats()["posts"] > 0)
        (port,) = re.findall(r"are on port (\d+)", site.logs())
        if number is signal.SIGHUP:  # once from the shell, and once from the kernel, to the whole group
            worker.send_signal(number)
            os.killpg(worker.pid, number)
        else:
            worker.send_signal(number)
        heard = until_refused(f"http://127.0.0.1:{port}/readyz")
        assert ("it is stopping" in heard, site.document(batch_id)["jobs"]["submitting"]) == (True, 0)
        assert worker.wait(timeout=15) == 0, site.logs()
    jobs = site.document(batch_id)["jobs"]
    assert jobs["submitting"] == jobs["in_doubt"] == 0
    assert JOBS - jobs["pending"] == site.stats()["posts"] > 0


def until_refused(url: str) -> str:
    """What was served last."""
    heard = ""
    with httpx.Client() as client:
        while True:
            try:
                heard = client.get(url).text
            except httpx.HTTPError:
                return heard
            time.sleep(0.05)


@pytest.mark.parametrize("missing", ["ORCHESTRATOR_BROKER_URL", "KATANA_API_SECRET"])
def test_a_worker_that_cannot_work_says_why(site: Site, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(missing)
    with site.worker() as worker:
        assert worker.wait(timeout=20) == 4
    assert f"{missing} is not set" in site.logs() or f"{missing} not set" in site.logs()
    assert "Traceback" not in site.logs()


def test_a_worker_refuses_a_database_that_does_not_know_what_was_paid_for(site: Site) -> None:
    """One that runs buys nothing more, one that starts ends with 4; both work once it was recovered."""
    site.sandbox.play(Faults(rules=[FaultRule(at="submit", kind="slow", times=None, seconds=1.0)]))
    count = 4 * JOBS  # enough that some are left when the worker has noticed, however busy the machine is
    batch_id = site.submit(count)
    with site.worker() as worker:
        site.wait_stored(batch_id, 1)
        _leave_receipt_of_an_unknown_request(site)
        site.wait(batch_id, lambda _: "behind its receipts" in site.logs())
        site.wait(batch_id, lambda document: not document["jobs"]["submitting"])
        posts = site.stats()["posts"]
        site.wait_stored(batch_id, posts)  # what is known to be paid for is still fetched
        assert site.stats()["posts"] == posts < count
        with site.worker(name="second") as second:
            assert second.wait(timeout=20) == 4
        assert worker.poll() is None
        site.sandbox.play(Faults())
        assert recover(site.settings)["adopted"] == 1
        site.wait_stored(batch_id, count)
    assert site.stats()["posts"] == count


def _leave_receipt_of_an_unknown_request(site: Site) -> None:
    (book,) = all_books(site.settings.home)
    receipt = next(slip for slip in book.newest(100) if slip.request_id).receipt()
    order = receipt.order.model_copy(update={"submission_id": uuid4()})
    book.write(receipt.model_copy(update={"request_id": str(uuid4()), "order": order}))
