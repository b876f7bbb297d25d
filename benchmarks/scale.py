"""Throughput of 1, 2 and 4 Celery workers over Redis, and who waits for whom: `python -m benchmarks.scale`.

A batch is submitted to workers that are there; its time is from the first charge to the last download. All of them
together may have 256 jobs at the provider: with fewer, the places are full before the processors are. Meanwhile
Postgres is asked, forty times a second, which of its processes work and which wait for a lock of another one.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import psycopg

from benchmarks import table
from benchmarks.contenders import Contender, Scene, contenders
from benchmarks.flat import work_of
from benchmarks.running import run_to_end, said, scene, start, stop
from benchmarks.site import tree_cpu_seconds

WORKERS = (1, 2, 4)
CAP = 256
_START_SECONDS = 60.0
_LONGEST_SECONDS = 900.0
_LOOK_SECONDS = 0.025
_LOOKS_BETWEEN_ENDS = 10
_RUNNING = "SELECT 1 FROM batch WHERE finished_at IS NULL"
#: Who works and who waits, without whoever asks.
_ACTIVITY = """
    SELECT coalesce(wait_event_type, 'works'), coalesce(wait_event, ''), count(*)
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()
    GROUP BY 1, 2
"""
HEAD = (
    "workers",
    "jobs/s",
    "to one worker",
    "CPU ms/job",
    "cores in use",
    "statements at once",
    "of them waiting for a lock",
    "which",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One batch. `seen` counts, over all looks, the statements by what they waited for."""

    job_count: int
    seconds: float
    cpu_seconds: float
    looks: int
    seen: Counter[tuple[str, str]]

    @property
    def jobs_per_second(self) -> float:
        return self.job_count / self.seconds

    @property
    def cpu_milliseconds(self) -> float:
        """For a job, of the workers, Postgres and Redis, from the submission to the end."""
        return 1_000 * self.cpu_seconds / self.job_count

    @property
    def statements_at_once(self) -> float:
        return sum(self.seen.values()) / self.looks

    @property
    def locked(self) -> Counter[str]:
        """The waits for a lock of another transaction, by its kind."""
        return Counter({event: n for (kind, event), n in self.seen.items() if kind == "Lock"})

    @property
    def locked_share(self) -> float:
        """Of the statements that were seen."""
        return sum(self.locked.values()) / max(sum(self.seen.values()), 1)


def run(worker_count: int, job_count: int) -> Run:
    """One batch with so many workers, on everything fresh."""
    ours = replace(contenders()["ours"], needs_redis=True)
    with scene(ours, job_count, "zero") as ready, ExitStack() as stack:
        assert ready.postgres is not None
        assert ready.redis is not None
        settings = {"ORCHESTRATOR_BROKER_URL": ready.redis.url, "ORCHESTRATOR_MAX_IN_FLIGHT": str(CAP)}
        ours = replace(ours, settings=settings)
        command = (sys.executable, "-m", "orchestrator", "worker")
        workers = [start(command, ours, ready) for _ in range(worker_count)]
        for worker in workers:
            stack.callback(stop, worker)
        _await_ready(ready, worker_count)
        counted = [*(worker.pid for worker in workers), ready.redis.pid]
        began_with = sum(map(tree_cpu_seconds, counted)) + ready.postgres.cpu_seconds()
        _submit(ours, ready)
        looks, seen = _watch(ready)
        cpu_seconds = sum(map(tree_cpu_seconds, counted)) + ready.postgres.cpu_seconds() - began_with
        began, ended = work_of(ready)
    return Run(job_count, ended - began, cpu_seconds, looks, seen)


def _await_ready(ready: Scene, worker_count: int) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while said(ready).count(" ready.") < worker_count:
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"the workers do not start: {said(ready)[-2_000:]}")
        time.sleep(0.1)


def _submit(ours: Contender, ready: Scene) -> None:
    run_to_end((sys.executable, "-m", "orchestrator", "submit", "batch.yaml", "--yes"), ours, ready)


def _watch(ready: Scene) -> tuple[int, Counter[tuple[str, str]]]:
    """Until the batch has ended: how often it was looked, and what was seen."""
    assert ready.postgres is not None
    seen: Counter[tuple[str, str]] = Counter()
    looks, give_up_at = 0, time.monotonic() + _LONGEST_SECONDS
    with psycopg.connect(ready.postgres.dsn, autocommit=True) as connection:
        while looks % _LOOKS_BETWEEN_ENDS or connection.execute(_RUNNING).fetchone() is not None:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"the batch does not end: {said(ready)[-2_000:]}")
            for kind, event, number in connection.execute(_ACTIVITY):
                seen[kind, event] += number
            looks += 1
            time.sleep(_LOOK_SECONDS)
    return looks, seen


def rows(results: dict[int, list[Run]]) -> list[list[str]]:
    """One for each number of workers."""
    alone = [run.jobs_per_second for run in results[min(results)]]
    return [_row(count, runs, alone) for count, runs in sorted(results.items())]


def _row(worker_count: int, runs: Sequence[Run], alone: Sequence[float]) -> list[str]:
    rates = [run.jobs_per_second for run in runs]
    locked = sum((run.locked for run in runs), Counter[str]())
    return [
        str(worker_count),
        table.figure(rates),
        f"{table.ratio(rates, alone)} x",
        table.figure([run.cpu_milliseconds for run in runs]),
        f"{statistics.median(run.cpu_seconds / run.seconds for run in runs):.1f}",
        table.figure([run.statements_at_once for run in runs], 2),
        f"{statistics.median(100 * run.locked_share for run in runs):.1f} %",
        ", ".join(f"{event} {number}" for event, number in locked.most_common(3)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput by the number of workers.")
    parser.add_argument("--workers", default=",".join(map(str, WORKERS)), help="numbers of workers, with commas")
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    results: dict[int, list[Run]] = {}
    for _ in range(arguments.runs):
        for count in map(int, arguments.workers.split(",")):
            results.setdefault(count, []).append(outcome := run(count, arguments.jobs))
            print(f"{count} workers: {outcome.jobs_per_second:.1f} jobs/s", file=sys.stderr)
    text = table.markdown(HEAD, rows(results))
    print(text)
    if arguments.write:
        table.write("scale", text)


if __name__ == "__main__":
    main()
