"""Who is measured, and how each is started, as its documentation says."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import jobs
from benchmarks.site import CAP, Postgres, Provider, Redis, clean_environment

ROOT = Path(__file__).parent.parent
#: The peers' environment, made by `make bench`. Without it only the bare loops run, in our own.
PEERS = ROOT / ".venv-bench"

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a run has."""

    folder: Path
    output: Path
    provider: Provider
    job_count: int
    poll_after_seconds: float
    postgres: Postgres | None = None
    redis: Redis | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """`workers` run until the work is done: by themselves where they `end`, else until they are stopped.

    `setup` runs before them, unmeasured, and `enqueue` beside them. After a kill `restart` runs in their place, or the
    workers again where it is not given.
    """

    name: str
    workers: tuple[Command, ...]
    setup: Command | None = None
    enqueue: Command | None = None
    restart: tuple[Command, ...] | None = None
    ends: bool = True
    needs_postgres: bool = False
    needs_redis: bool = False
    #: Fewer jobs for who would take too long.
    at_most: int = 1_000_000
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.name == "ours"

    def prepare(self, scene: Scene) -> None:
        """Writes the work to be done."""
        if self.is_ours:
            jobs.write_manifest(scene.folder, scene.job_count)
        else:
            jobs.write_items(scene.folder, scene.job_count)

    def environment(self, scene: Scene) -> dict[str, str]:
        """What its processes are told."""
        return clean_environment() | (_ours(scene) if self.is_ours else _peers(scene)) | dict(self.settings)


def _ours(scene: Scene) -> dict[str, str]:
    return {
        "ORCHESTRATOR_HOME": str(scene.folder / "home"),
        "ORCHESTRATOR_DESTINATION": str(scene.output),
        "ORCHESTRATOR_MAX_IN_FLIGHT": str(CAP),
        "KATANA_BASE_URL": scene.provider.url,
        "KATANA_API_KEY": "key",
        "KATANA_API_SECRET": "secret",
    }


def _peers(scene: Scene) -> dict[str, str]:
    return {
        "BENCH_PROVIDER": scene.provider.url,
        "BENCH_JOBS": str(scene.folder / "jobs.jsonl"),
        "BENCH_FOLDER": str(scene.output),
        "BENCH_CAP": str(CAP),
        "BENCH_POLL_AFTER": str(scene.poll_after_seconds),
        "BENCH_DATABASE": scene.postgres.dsn if scene.postgres else "",
        "BENCH_REDIS": scene.redis.url if scene.redis else "",
        "PREFECT_HOME": str(scene.folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT),
    }


def _python() -> str:
    return str(PEERS / "bin" / "python") if (PEERS / ".ready").exists() else sys.executable


def _module(name: str, *arguments: str) -> Command:
    return (_python(), "-m", f"benchmarks.peers.{name}", *arguments)


def _orchestrator(*arguments: str) -> Command:
    """Our own command; BENCH_PROFILER is a profiler's command to put in front of it."""
    profiler = tuple(os.environ.get("BENCH_PROFILER", "").split())
    return (*profiler, sys.executable, "-m", "orchestrator", *arguments)


def contenders() -> dict[str, Contender]:
    """By name; our own first."""
    everyone = (
        Contender(
            "ours",
            setup=_orchestrator("db", "upgrade"),
            workers=(_orchestrator("submit", "batch.yaml", "--yes"),),
            restart=(_orchestrator("resume", "--yes"),),
            needs_postgres=True,
        ),
        Contender("aiohttp", workers=(_module("loop_aiohttp"),)),
        Contender("httpx", workers=(_module("loop_httpx"),), at_most=1_000),
        _celery("celery-steps"),
        _celery("celery-job"),
        Contender("dbos", workers=(_module("dbos_workflows"),), needs_postgres=True, at_most=1_000),
        Contender(
            "procrastinate",
            setup=_procrastinate("schema", "--apply"),
            enqueue=_module("send", "procrastinate_steps"),
            workers=(_procrastinate("worker", "--concurrency", str(CAP), "--fetch-job-polling-interval", "0.5"),),
            ends=False,
            needs_postgres=True,
            at_most=1_000,
        ),
        Contender("prefect", workers=(_module("prefect_flow"),), at_most=200),
    )
    return {contender.name: contender for contender in everyone}


def late(contender: Contender) -> Contender:
    """A Celery contender whose tasks are acknowledged late and given out again after 30 s."""
    return replace(contender, name=f"{contender.name}-late", settings={"BENCH_ACKS_LATE": "1"})


def _celery(name: str) -> Contender:
    """64 threads over Redis."""
    module = name.replace("-", "_")
    options = ("--pool", "threads", "--concurrency", str(CAP), "--loglevel", "WARNING")
    return Contender(
        name,
        enqueue=_module("send", module),
        workers=((_python(), "-m", "celery", "-A", f"benchmarks.peers.{module}", "worker", *options),),
        ends=False,
        needs_redis=True,
        at_most=1_000,
    )


def _procrastinate(*arguments: str) -> Command:
    return (_python(), "-m", "procrastinate", "--app", "benchmarks.peers.procrastinate_steps.app", *arguments)
