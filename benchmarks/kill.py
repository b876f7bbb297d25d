"""`kill -9` in the middle, and what is left after a restart: `python -m benchmarks.kill [--only ours,...]`.

300 jobs, answers to submissions delayed by 0.2 s; everything of the contender but its servers is killed at the 100th
charge, then started again as its documentation says. What was paid is told by the provider's own book.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import jobs, table
from benchmarks.contenders import ROOT, Contender, Scene, contenders, late
from benchmarks.options import chosen, options
from benchmarks.running import run_to_end, scene, started, stored

POST_DELAY_SECONDS = 0.2
KILL_AT = 100
#: Nothing moved for so long: what is not finished will not be. Longer than any sweep that the contenders make:
#: Celery gives out again what was not acknowledged every 100 s.
QUIET_SECONDS = 150.0
_LOOK_SECONDS = 0.05
HEAD = ("contender", "on the wire", "finished", "named in doubt", "stuck", "charged twice", "never charged")


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Counts of jobs. `on_wire`: charged, and the answer never reached the killed process."""

    on_wire: int
    finished: int
    in_doubt: int
    stuck: int
    charged_twice: int
    never_charged: int


def trial(contender: Contender, job_count: int) -> Aftermath:
    """One kill of one contender, on everything fresh."""
    with scene(contender, job_count, "image", post_delay_seconds=POST_DELAY_SECONDS) as ready:
        run_to_end(contender.enqueue, contender, ready)
        with started(contender.workers, contender, ready) as victims:
            _await(lambda: len(ready.provider.book()["jobs"]) >= KILL_AT, victims)
        time.sleep(2 * POST_DELAY_SECONDS)
        on_wire = sum(entry["unanswered"] for entry in ready.provider.book()["jobs"].values())
        with started(contender.restart or contender.workers, contender, ready) as restarted:
            _await_quiet(contender, ready, restarted)
            return _count(ready, on_wire, _in_doubt(contender, ready))


def _await(is_so: Callable[[], bool], processes: list[subprocess.Popen[bytes]]) -> None:
    while not is_so():
        if all(process.poll() is not None for process in processes):
            raise RuntimeError("it ended before it could be killed")
        time.sleep(_LOOK_SECONDS)


def _await_quiet(contender: Contender, ready: Scene, processes: list[subprocess.Popen[bytes]]) -> None:
    """Until all is stored, its processes have ended, or nothing has moved for long."""
    seen: list[int] = []
    moved_at = time.monotonic()
    while time.monotonic() - moved_at < QUIET_SECONDS:
        now = _traces(ready)
        if now != seen:
            seen, moved_at = now, time.monotonic()
        if stored(ready) >= ready.job_count and not contender.ends:
            return
        if contender.ends and all(process.poll() is not None for process in processes):
            return
        time.sleep(_LOOK_SECONDS)


def _traces(ready: Scene) -> list[int]:
    entries = ready.provider.book()["jobs"].values()
    return [stored(ready), sum(entry["polls"] for entry in entries), sum(len(entry["charged_at"]) for entry in entries)]


def _in_doubt(contender: Contender, ready: Scene) -> int:
    """How many jobs the contender itself names as paid or not paid, nobody knows. Only ours has a word for that."""
    if not contender.is_ours:
        return 0
    command = [sys.executable, "-m", "orchestrator", "jobs", "latest", "--state", "in_doubt", "--json"]
    said = subprocess.run(command, env=contender.environment(ready), cwd=ROOT, capture_output=True, check=True)
    return len(_rows(json.loads(said.stdout)))


def _rows(document: Any) -> list[Any]:
    return list(document["jobs"]) if isinstance(document, dict) else list(document)


def _count(ready: Scene, on_wire: int, in_doubt: int) -> Aftermath:
    book = ready.provider.book()["jobs"]
    entries = [book.get(jobs.prompt_of(job)) for job in jobs.job_ids(ready.job_count)]
    charges = [len(entry["charged_at"]) if entry else 0 for entry in entries]
    finished = stored(ready)
    return Aftermath(
        on_wire=on_wire,
        finished=finished,
        in_doubt=in_doubt,
        stuck=ready.job_count - finished - in_doubt,
        charged_twice=sum(count > 1 for count in charges),
        never_charged=sum(count == 0 for count in charges),
    )


def everyone() -> dict[str, Contender]:
    """The contenders, the Celery ones once more with late acknowledgement; Prefect with as many jobs as the others."""
    known = contenders()
    late_ones = [late(known[name]) for name in ("celery-steps", "celery-job")]
    known["prefect"] = replace(known["prefect"], at_most=1_000)
    return known | {contender.name: contender for contender in late_ones}


def _row(name: str, trials: list[Aftermath]) -> list[str]:
    def counts(pick: Callable[[Aftermath], int]) -> str:
        values = [pick(each) for each in trials]
        spread = "" if len(set(values)) == 1 else f" ({min(values)}-{max(values)})"
        return f"{statistics.median_low(values)}{spread}"

    return [
        name,
        counts(lambda each: each.on_wire),
        counts(lambda each: each.finished),
        counts(lambda each: each.in_doubt),
        counts(lambda each: each.stuck),
        counts(lambda each: each.charged_twice),
        counts(lambda each: each.never_charged),
    ]


def main() -> None:
    arguments = options("A kill -9 in the middle of a batch.", 300, 3).parse_args()
    results: dict[str, list[Aftermath]] = {}
    for _ in range(arguments.runs):
        for contender in chosen(arguments, everyone()):
            aftermath = trial(contender, arguments.jobs)
            results.setdefault(contender.name, []).append(aftermath)
            print(f"{contender.name}: {aftermath}", file=sys.stderr)
    text = table.markdown(HEAD, [_row(name, trials) for name, trials in results.items()])
    print(text)
    if arguments.write:
        table.write("kill", text)


if __name__ == "__main__":
    main()
