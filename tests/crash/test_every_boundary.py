"""SIGKILL at a boundary: no job is paid twice, and nothing that was paid for is lost.

`make test` dies at a sample of each point under the local driver, and at a few under Celery, which takes longer; they
are told at the end of the run with their seed, and so is a sample of two deaths in a row. `make crash` (CRASH=all)
visits all under both, and more pairs.
"""

import itertools
import logging
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from orchestrator.assets import s3
from orchestrator.store.embedded import EmbeddedPostgres

from ..integration.redis_server import RedisServer, require_redis
from .arena import CHAIN, SUBMIT, THINGS, End, Trial, new_trial
from .conftest import TOLD
from .victim import Boundary
from .visiting import ALL, RUNS, Tour, all_boundaries, boundaries_at, surely

#: The fault points that stand at a boundary, for a destination that is a folder.
POINTS = [
    "db.commit",
    "db.committed",
    "pay.request",
    "pay.sent",
    "pay.answered",
    "ask.request",
    "ask.answered",
    "fetch.request",
    "fetch.answered",
    "spool.opened",
    "spool.written",
    "spool.named",
    "spool.discarded",
    "folder.opened",
    "folder.written",
    "folder.named",
    "receipt.write",
    "receipt.written",
]
#: Commits are most of the boundaries: their visits are shared out among so many tests, and none lasts for minutes.
SHARES = {"db.commit": 6, "db.committed": 6}
LOCAL = [(point, share) for point in POINTS for share in range(SHARES.get(point, 1))]
#: Of all boundaries under Celery, and of those of a chain, `make test` visits so many.
SAMPLE, SAMPLED = "sample", 5
SAMPLED_OF_CHAIN = 12
UPLOAD_POINTS = ["upload.request", "upload.answered"]
#: Enough that no file has to go to the spool.
AMPLE_MEMORY = {"ORCHESTRATOR_COPY_MEMORY_BYTES": str(64 * 1024**2)}
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIATESTONLY",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
SEED = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10**6))
#: Trials with two deaths in a row (`make test` has one first one): so many first ones, so many second ones of each.
FIRST_DEATHS = 20
SECOND_DEATHS = 4

pytestmark = pytest.mark.timeout(1800)
Tell = Callable[[str, object], None]


def live_locally(trial: Trial, boundary: Boundary) -> End:
    first = trial.run(SUBMIT, boundary)
    if first.was_killed:
        trial.restart()
    return first


def live_with_celery(trial: Trial, boundary: Boundary) -> End:
    trial.run(SUBMIT)
    first = trial.work(boundary)
    if first.was_killed:
        trial.work()
    return first


def die_twice(first: Boundary, trial: Trial, second: Boundary) -> End:
    """The process that goes on after the first death dies too."""
    trial.run(SUBMIT, first)
    again = trial.run(trial.next_command(), second)
    if again.was_killed:
        trial.restart()
    return again


def counted(trial: Trial, end: End) -> dict[str, int]:
    """The visits of a run that nothing happened to."""
    assert not end.was_killed, trial.log()
    assert trial.finish() == [], trial.log()
    return end.visits


@pytest.fixture(scope="session")
def local_visits(postgres: EmbeddedPostgres) -> dict[str, int]:
    """How often the local driver visits each boundary."""
    runs = []
    for _ in range(RUNS):
        with new_trial(postgres.url) as trial:
            runs.append(counted(trial, trial.run(SUBMIT)))
    return surely(*runs)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_redis()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def celery_visits(postgres: EmbeddedPostgres, redis_url: str) -> dict[str, int]:
    """How often a Celery worker visits each boundary."""
    runs = []
    for _ in range(RUNS):
        with new_trial(postgres.url, ORCHESTRATOR_BROKER_URL=redis_url) as trial:
            trial.run(SUBMIT)
            runs.append(counted(trial, trial.work(stop_with=signal.SIGTERM)))
    return surely(*runs)


def test_every_fault_point_is_listed() -> None:
    source = Path(__file__).parents[2] / "orchestrator"
    found = {
        name.replace("{self._name}", "pay")  # or `offer`, where it is paid by the request: see test_payments
        for path in source.rglob("*.py")
        for name in re.findall(r'faults\.point\(f?"([^"]+)"', path.read_text())
    }
    assert found == {*POINTS, *UPLOAD_POINTS}


@pytest.mark.parametrize(("point", "share"), LOCAL)
def test_the_local_driver_dies_once(
    postgres: EmbeddedPostgres, local_visits: dict[str, int], point: str, share: int, record_property: Tell
) -> None:
    tour = Tour(partial(new_trial, postgres.url), live_locally)
    shares = SHARES.get(point, 1)
    everything = boundaries_at(point, local_visits)[share::shares]
    tour.visit(everything)
    which = f" {share + 1}/{shares}" if shares > 1 else ""
    record_property(TOLD, f"local   {point}{which}: {tour.summary()}")
    tour.check()
    tour.check_all_reached()
    assert tour.reached


@pytest.fixture(scope="session")
def chain_visits(postgres: EmbeddedPostgres) -> dict[str, int]:
    """How often the local driver visits each boundary when it works a chain."""
    runs = []
    for _ in range(RUNS):
        with new_trial(postgres.url, CHAIN, **AMPLE_MEMORY) as trial:
            runs.append(counted(trial, trial.run(SUBMIT)))
    return surely(*runs)


@pytest.mark.parametrize("point", POINTS if ALL else [SAMPLE])
def test_a_chain_breaks_nowhere(
    postgres: EmbeddedPostgres, chain_visits: dict[str, int], point: str, record_property: Tell
) -> None:
    tour = Tour(partial(new_trial, postgres.url, CHAIN, **AMPLE_MEMORY), live_locally)
    everything = all_boundaries(chain_visits) if point == SAMPLE else boundaries_at(point, chain_visits)
    chosen = random.Random(SEED).sample(everything, SAMPLED_OF_CHAIN) if point == SAMPLE else everything
    tour.visit(chosen)
    which = "" if ALL else f" of {len(everything)}: {', '.join(map(str, chosen))} (CRASH_SEED={SEED})"
    record_property(TOLD, f"chain   {point}: {tour.summary()}{which}")
    tour.check()
    if point != SAMPLE:
        tour.check_all_reached()


@pytest.mark.redis
@pytest.mark.parametrize("point", POINTS if ALL else [SAMPLE])
def test_a_celery_worker_dies_once(
    postgres: EmbeddedPostgres, redis_url: str, celery_visits: dict[str, int], point: str, record_property: Tell
) -> None:
    tour = Tour(partial(new_trial, postgres.url, ORCHESTRATOR_BROKER_URL=redis_url), live_with_celery)
    everything = all_boundaries(celery_visits) if point == SAMPLE else boundaries_at(point, celery_visits)
    chosen = random.Random(SEED).sample(everything, SAMPLED) if point == SAMPLE else everything
    tour.visit(chosen)
    which = "" if ALL else f" of {len(everything)}: {', '.join(map(str, chosen))} (CRASH_SEED={SEED})"
    record_property(TOLD, f"celery  {point}: {tour.summary()}{which}")
    tour.check()
    if point == SAMPLE:
        assert len(tour.missed) <= 1, "timing may keep one from being reached"
    else:
        tour.check_all_reached()


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that the processes of a trial write to."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    s3.s3_client.cache_clear()
    s3.s3_client().create_bucket(Bucket="crash")
    return "s3://crash"


@pytest.mark.parametrize("point", UPLOAD_POINTS)
def test_the_local_driver_dies_at_an_upload(
    postgres: EmbeddedPostgres, bucket: str, point: str, record_property: Tell
) -> None:
    prefixes = itertools.count()

    def new_trial_in_bucket() -> AbstractContextManager[Trial]:
        destination = f"{bucket}/{next(prefixes)}"
        return new_trial(postgres.url, THINGS, ORCHESTRATOR_DESTINATION=destination, **AMPLE_MEMORY)

    with new_trial_in_bucket() as trial:
        visits = counted(trial, trial.run(SUBMIT))
    tour = Tour(new_trial_in_bucket, live_locally)
    tour.visit(boundaries_at(point, visits))
    record_property(TOLD, f"local   {point}: {tour.summary()}")
    tour.check()
    tour.check_all_reached()


@pytest.mark.parametrize("first", [Boundary("pay.sent", 1), Boundary("fetch.request", 1)], ids=str)
def test_a_rescue_dies_too(postgres: EmbeddedPostgres, first: Boundary, record_property: Tell) -> None:
    """The commits that a restart begins with put back what the dead process held."""
    tour = _second_deaths(postgres, first, lambda found: [b for b in found if b.name.startswith("db.")][:4])
    record_property(TOLD, f"local   after {first}: {tour.summary()}")
    tour.check()
    assert tour.reached


@pytest.mark.parametrize("number", range(FIRST_DEATHS if ALL else 1))
def test_two_deaths_in_a_row(
    postgres: EmbeddedPostgres, local_visits: dict[str, int], number: int, record_property: Tell
) -> None:
    dice = random.Random(f"{SEED} {number}")
    first = dice.choice(all_boundaries(local_visits))
    tour = _second_deaths(postgres, first, lambda found: dice.sample(found, min(len(found), SECOND_DEATHS)))
    chosen = ", ".join(map(str, tour.reached + tour.missed))
    record_property(TOLD, f"pairs   {first}, then {chosen}: {tour.summary()} (CRASH_SEED={SEED})")
    tour.check()


def _second_deaths(
    postgres: EmbeddedPostgres, first: Boundary, choose: Callable[[list[Boundary]], list[Boundary]]
) -> Tour:
    """After a first death, a second one at each of some boundaries of the process that goes on."""
    with new_trial(postgres.url) as trial:
        trial.run(SUBMIT, first)
        visits = counted(trial, trial.restart())
    tour = Tour(partial(new_trial, postgres.url), partial(die_twice, first))
    tour.visit(choose(all_boundaries(visits)))
    return tour
