"""One run of one contender: from its first process to its last, with what it used and what the provider saw."""

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks import jobs
from benchmarks.contenders import ROOT, Command, Contender, Scene
from benchmarks.draws import LATENCIES
from benchmarks.site import postgres, provider, redis, tree_cpu_seconds, workspace

_LONGEST_RUN_SECONDS = 900.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run took: `wall` from the first process to the end of the last, `span` from the first charge to the last
    download; `lags` from a job's end at the provider to the poll that saw it.
    """

    job_count: int
    finished: int
    wall_seconds: float
    span_seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    write_transactions: int | None
    polls: int
    lags: list[float]
    max_in_flight: int

    @property
    def jobs_per_second(self) -> float:
        return self.job_count / self.wall_seconds

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds for a thousand jobs, servers and start-up included."""
        return 1_000 * (self.cpu_seconds + self.server_cpu_seconds) / self.job_count

    @property
    def mean_lag_seconds(self) -> float:
        return statistics.fmean(self.lags) if self.lags else 0.0


@contextmanager
def scene(contender: Contender, job_count: int, latency: str, **provider_options: float) -> Iterator[Scene]:
    """A folder, the fake provider, and the servers that the contender needs, all fresh."""
    with ExitStack() as stack:
        folder = stack.enter_context(workspace())
        output = folder / "output"
        output.mkdir()
        fake = stack.enter_context(
            provider(
                folder,
                latency=latency,
                post_delay_seconds=provider_options.get("post_delay_seconds", 0.0),
                seed=int(provider_options.get("seed", 0)),
            )
        )
        server = stack.enter_context(postgres(folder)) if contender.needs_postgres else None
        broker = stack.enter_context(redis(folder)) if contender.needs_redis else None
        set_up = Scene(folder, output, fake, job_count, LATENCIES[latency].poll_after_seconds, server, broker)
        contender.prepare(set_up)
        run_to_end(contender.setup, contender, set_up)
        yield set_up


def start(command: Command, contender: Contender, scene: Scene) -> subprocess.Popen[bytes]:
    """A process in a group of its own; what it says goes to a file."""
    with (scene.folder / "said.log").open("ab") as said:
        return subprocess.Popen(
            command,
            cwd=scene.folder if contender.is_ours else ROOT,
            env=contender.environment(scene),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


@contextmanager
def started(commands: Iterable[Command], contender: Contender, scene: Scene) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of a contender; none of them is left afterwards, whatever happens."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(start(command, contender, scene) for command in commands)
        yield processes
    finally:
        for process in processes:
            kill(process)


def run_to_end(command: Command | None, contender: Contender, scene: Scene) -> None:
    """A command that ends by itself. Raises where it fails."""
    if command is None:
        return
    process = start(command, contender, scene)
    if process.wait(_LONGEST_RUN_SECONDS) != 0:
        raise RuntimeError(f"{command} failed: {said(scene)[-2_000:]}")


def stop(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """Ends a worker as its documentation says, and its whole group where it does not end."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def said(scene: Scene) -> str:
    return (scene.folder / "said.log").read_text(errors="replace")


def stored(scene: Scene) -> int:
    """How many results are in the folder."""
    return sum(name.endswith(".png") for _, _, names in os.walk(scene.output) for name in names)


def measure(contender: Contender, job_count: int, latency: str = "zero", seed: int = 0) -> Outcome:
    """One run on everything fresh. Raises where a job is left."""
    with scene(contender, min(job_count, contender.at_most), latency, seed=seed) as ready:
        servers_before = _server_cpu(ready)
        transactions_before = ready.postgres.write_transactions() if ready.postgres else 0
        cpu_before = _own_children_cpu()
        began = time.monotonic()
        commands = [command for command in (contender.enqueue, *contender.workers) if command]
        with started(commands, contender, ready) as processes:
            _await_end(contender, ready, processes, began)
            wall = time.monotonic() - began
            for process in processes:
                stop(process)
        transactions = ready.postgres.write_transactions() - transactions_before if ready.postgres else None
        return _outcome(
            ready,
            wall_seconds=wall,
            cpu_seconds=_own_children_cpu() - cpu_before,
            server_cpu_seconds=_server_cpu(ready) - servers_before,
            write_transactions=transactions,
        )


def _await_end(contender: Contender, ready: Scene, processes: list[subprocess.Popen[bytes]], began: float) -> None:
    while time.monotonic() - began < _LONGEST_RUN_SECONDS:
        if contender.ends and all(process.poll() is not None for process in processes):
            return
        if not contender.ends and stored(ready) >= ready.job_count:
            return
        time.sleep(_LOOK_SECONDS)
    raise RuntimeError(f"{contender.name} did not end: {said(ready)[-2_000:]}")


def _own_children_cpu() -> float:
    """Of all children that ended, and theirs."""
    used = os.times()
    return used.children_user + used.children_system


def _server_cpu(ready: Scene) -> float:
    total = ready.postgres.cpu_seconds() if ready.postgres else 0.0
    return total + (tree_cpu_seconds(ready.redis.pid) if ready.redis else 0.0)


def _outcome(ready: Scene, **used: Any) -> Outcome:
    book = ready.provider.book()
    entries = [
        book["jobs"][jobs.prompt_of(job)]
        for job in jobs.job_ids(ready.job_count)
        if jobs.prompt_of(job) in book["jobs"]
    ]
    charged = [entry["charged_at"][0] for entry in entries]
    fetched = [entry["last_download_at"] for entry in entries if entry["last_download_at"] is not None]
    finished = stored(ready)
    if finished < ready.job_count:
        raise RuntimeError(f"{finished} of {ready.job_count} are stored: {said(ready)[-2_000:]}")
    return Outcome(
        job_count=ready.job_count,
        finished=finished,
        span_seconds=max(fetched) - min(charged),
        polls=sum(entry["polls"] for entry in entries),
        lags=[entry["seen_at"] - entry["done_at"] for entry in entries if entry["seen_at"] is not None],
        max_in_flight=book["max_in_flight"],
        **used,
    )
