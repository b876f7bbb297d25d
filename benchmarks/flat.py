"""Whether a job costs the same in a small batch as in a large one: `python -m benchmarks.flat [--sizes 1000,10000]`.

Ours only, a provider that takes no time. What a run is judged by lies between its first charge and its last download;
the memory is that of our one process, its growth a straight line through the second half of that time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from benchmarks import jobs, table
from benchmarks.contenders import Scene, contenders
from benchmarks.running import said, scene, start

SIZES = (1_000, 10_000, 100_000)
#: A size whose runs are together more than this is run once: its figures are steady by themselves.
_MOST_JOBS = 50_000
_SAMPLE_SECONDS = 0.25
_MB = 1_000_000
HEAD = (
    "jobs",
    "ms/job",
    "to the smallest",
    "CPU ms/job",
    "of it Postgres",
    "to the smallest",
    "memory, MB",
    "growth, MB/10,000 jobs",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was used until then: our process and the server, CPU seconds; `at` is Unix time."""

    at: float
    rss_bytes: int
    own_cpu_seconds: float
    server_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """A run from its first charge to its last download."""

    job_count: int
    seconds: float
    own_cpu_seconds: float
    server_cpu_seconds: float
    rss_bytes: int
    growth_bytes_per_job: float

    @property
    def milliseconds(self) -> float:
        """For a job."""
        return 1_000 * self.seconds / self.job_count

    @property
    def cpu_milliseconds(self) -> float:
        """For a job, of our process and of Postgres."""
        return 1_000 * (self.own_cpu_seconds + self.server_cpu_seconds) / self.job_count

    @property
    def server_milliseconds(self) -> float:
        return 1_000 * self.server_cpu_seconds / self.job_count


def run(job_count: int) -> Run:
    """One batch of so many jobs, on everything fresh."""
    ours = contenders()["ours"]
    with scene(ours, job_count, "zero") as ready:
        process = start(ours.workers[0], ours, ready)
        samples = sampled(psutil.Process(process.pid), ready)
        exit_code = process.wait()
        if exit_code:  # with 0 every job is stored
            raise RuntimeError(f"it ended with {exit_code}: {said(ready)[-2_000:]}")
        began, ended = work_of(ready)
    return judged(samples, job_count, began, ended)


def sampled(process: psutil.Process, ready: Scene) -> list[Sample]:
    """What the process and the server use, until the process ends."""
    assert ready.postgres is not None
    samples: list[Sample] = []
    while True:
        try:
            with process.oneshot():
                used, rss = process.cpu_times(), process.memory_info().rss
            if process.status() == psutil.STATUS_ZOMBIE:
                return samples
            server = ready.postgres.cpu_seconds()
        except psutil.NoSuchProcess:
            return samples
        samples.append(Sample(time.time(), rss, used.user + used.system, server))
        time.sleep(_SAMPLE_SECONDS)


def work_of(ready: Scene) -> tuple[float, float]:
    """When the first job was charged and the last file downloaded, in Unix time."""
    book = ready.provider.book()["jobs"]
    entries = [book[jobs.prompt_of(job)] for job in jobs.job_ids(ready.job_count)]
    return min(entry["charged_at"][0] for entry in entries), max(entry["last_download_at"] for entry in entries)


def judged(samples: Sequence[Sample], job_count: int, began: float, ended: float) -> Run:
    """What was used between two instants; jobs are taken to end evenly between them."""
    first, last = (min(samples, key=lambda sample: abs(sample.at - instant)) for instant in (began, ended))
    half = [sample for sample in samples if (began + ended) / 2 <= sample.at <= ended]
    growth = slope([sample.at for sample in half], [sample.rss_bytes for sample in half])
    return Run(
        job_count=job_count,
        seconds=ended - began,
        own_cpu_seconds=last.own_cpu_seconds - first.own_cpu_seconds,
        server_cpu_seconds=last.server_cpu_seconds - first.server_cpu_seconds,
        rss_bytes=last.rss_bytes,
        growth_bytes_per_job=growth * (ended - began) / job_count,
    )


def slope(across: Sequence[float], up: Sequence[float]) -> float:
    """Of the straight line through these points; 0 for fewer than two."""
    return statistics.linear_regression(across, up).slope if len(across) > 1 else 0.0


def rows(results: dict[int, list[Run]]) -> list[list[str]]:
    """One for each size; the ratios are those of the medians."""
    smallest = results[min(results)]

    def column(runs: list[Run], value: Callable[[Run], float], digits: int = 2) -> str:
        return table.figure([value(run) for run in runs], digits)

    def to_smallest(runs: list[Run], value: Callable[[Run], float]) -> str:
        return table.ratio([value(run) for run in runs], [value(run) for run in smallest])

    return [
        [
            f"{size:,}",
            column(runs, lambda run: run.milliseconds),
            to_smallest(runs, lambda run: run.milliseconds),
            column(runs, lambda run: run.cpu_milliseconds),
            column(runs, lambda run: run.server_milliseconds),
            to_smallest(runs, lambda run: run.cpu_milliseconds),
            column(runs, lambda run: run.rss_bytes / _MB, 0),
            column(runs, lambda run: 10_000 * run.growth_bytes_per_job / _MB, 1),
        ]
        for size, runs in sorted(results.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time, CPU and memory by the size of a batch.")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of jobs, with commas")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    results: dict[int, list[Run]] = {}
    for turn in range(arguments.runs):
        for size in map(int, arguments.sizes.split(",")):
            if turn and size * arguments.runs > _MOST_JOBS:
                continue
            results.setdefault(size, []).append(outcome := run(size))
            print(f"{size:,} jobs: {outcome.seconds:.1f} s", file=sys.stderr)
    text = table.markdown(HEAD, rows(results))
    print(text)
    if arguments.write:
        table.write("flat", text)


if __name__ == "__main__":
    main()
