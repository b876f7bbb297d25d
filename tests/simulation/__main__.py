"""`make simulate`: play many seeds, tell what happened, and name each seed at which an invariant broke."""

import argparse
import multiprocessing
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from .play import Played, own_server, own_stage, play
from .stage import Stage
from .tally import Tally

_SHOWN = 25


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Postgres is stopped
    tally, violations = Tally(), 0
    with own_server() as url:
        started = time.monotonic()
        for played in _played(url, options):
            tally.add(played.tally)
            if options.each:
                print(_in_a_line(played), flush=True)
            if played.wrong:
                violations += 1
                _tell(played, options.trace)
        seconds = time.monotonic() - started
    _sum_up(tally, violations, seconds)
    return 1 if violations else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one alone, as it was played before")
    parser.add_argument("--workers", type=int, default=2, help="processes to play in")
    parser.add_argument("--each", action="store_true", help="tell how long each seed took")
    parser.add_argument("--trace", type=Path, help="write what happened in a seed that broke to this file")
    options = parser.parse_args()
    if options.seed is not None:
        options.first, options.seeds, options.workers = options.seed, 1, 1
    return options


def _played(url: str, options: argparse.Namespace) -> Iterator[Played]:
    seeds = range(options.first, options.first + options.seeds)
    if options.workers == 1:
        with own_stage(url, "simulation_0") as stage:
            yield from (play(stage, seed, traced=options.trace is not None) for seed in seeds)
        return
    context = multiprocessing.get_context("fork")
    names = context.Queue()
    for number in range(options.workers):
        names.put(f"simulation_{number}")
    with ProcessPoolExecutor(options.workers, context, _enter, (url, names)) as pool:
        for played in as_completed([pool.submit(_play, seed) for seed in seeds]):
            yield played.result()


_stage: Stage | None = None
_kept = ExitStack()


def _enter(url: str, names: "multiprocessing.Queue[str]") -> None:
    global _stage
    _stage = _kept.enter_context(own_stage(url, names.get()))


def _play(seed: int) -> Played:
    assert _stage is not None
    return play(_stage, seed)


def _tell(played: Played, trace: Path | None) -> None:
    seed = played.scenario.seed
    print(f"seed {seed}: {', '.join(played.scenario.ingredients)}")
    for line in played.wrong[:_SHOWN]:
        print(f"  {line}")
    print(f"  again: make simulate SEED={seed}", flush=True)
    if trace is not None:
        trace.write_text("\n".join(played.trace) + "\n", encoding="utf-8")
        print(f"  what happened: {trace}")


def _in_a_line(played: Played) -> str:
    tally = played.tally
    return (
        f"seed {played.scenario.seed}: {played.digest[:12]} {played.seconds:.1f} s, {tally.virtual_hours:.1f} virtual "
        f"hours, {tally.audits} audits, {tally.turns} turns, {tally.statements} statements: "
        f"{', '.join(played.scenario.ingredients)}"
    )


def _sum_up(tally: Tally, violations: int, seconds: float) -> None:
    per_hour = tally.batches / seconds * 3600
    print(
        f"{tally.simulations} simulations, {tally.batches} batches, {tally.jobs} jobs, "
        f"{tally.virtual_hours:.0f} virtual hours in {seconds:.0f} s: {per_hour:.0f} batches an hour\n"
        f"{tally.audits} audits, {tally.kills} kills, {sum(tally.mishaps.values())} mishaps, {violations} violations"
    )
    for title, counts in (("mishaps", tally.mishaps), ("ends", tally.ends)):
        print(f"{title}: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count))


if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)
    sys.exit(main())
