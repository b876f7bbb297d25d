"""When to poll: polls per job against lag, and the makespan, by rule. Virtual time, seeded, no network.

`python -m benchmarks.polling` prints the tables of docs/performance.md; `--write` puts them there and draws the
frontiers, with `--live NAMES` (of contenders) also real runs into those of the draws that the fake provider makes.

Jobs with drawn latencies run at a provider that takes 64 at once. When a poll finds one done, the next is sent: what is
done and not yet seen keeps its place. Every rule waits at least as long as the provider asks. The learned rule is the
engine's own code, fed with what the rows would say; it starts knowing nothing in each run.
"""

import argparse
import heapq
import math
import random
import sys
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from benchmarks import table
from benchmarks.contenders import contenders
from benchmarks.draws import LATENCIES
from benchmarks.polling_plot import Curve, Panel, draw
from benchmarks.running import measure
from orchestrator.engine.inspection import POLL_COST
from orchestrator.engine.pacing import MAX_POLL_SECONDS, next_poll_seconds
from orchestrator.engine.poll_times import PollTimes
from orchestrator.store.durations import JobKind, Seen

CAP = 64
SEEDS = (1, 2, 3)
KIND = JobKind("model")
QUEUE_SECONDS = (0.3, 1.0)
#: Rows that the engine reads.
NEWEST = 400
PICTURE = table.PAGE.with_name("polling.svg")
HEAD_AGAINST = ("draw", "polls", "lag mean, p50, p95 (s)", "fixed interval", "backoff", "share of age")
HEAD_MAKESPAN = (
    "draw",
    "asks for",
    "poll_after alone",
    "a tenth of the age",
    "learned",
    "learned, provider tells nothing",
)


@dataclass(frozen=True)
class Draw:
    """Jobs whose latencies are drawn by their number; the provider asks to be polled after so many seconds."""

    title: str
    seconds: Callable[[random.Random, int], float]
    asked: float
    jobs: int


def lognormal(typical: float, sigma: float) -> Callable[[random.Random, int], float]:
    return lambda dice, _: dice.lognormvariate(math.log(typical), sigma)


def bimodal(dice: random.Random, _: int) -> float:
    return dice.lognormvariate(math.log(8 if dice.random() < 0.7 else 60), 0.2)


def drifting(dice: random.Random, index: int) -> float:
    """A third of the jobs at 20 s, then the provider gets slower, then faster than it ever was."""
    return dice.lognormvariate(math.log((20, 50, 12)[index // 500]), 0.3)


DRAWS = (
    Draw("image, 30 s", lognormal(30, 0.4), asked=2, jobs=1000),
    Draw("video, 120 s", lognormal(120, 0.4), asked=5, jobs=600),
    Draw("8 s or 60 s", bimodal, asked=2, jobs=1000),
    Draw("20, then 50, then 12 s", drifting, asked=2, jobs=1500),
    Draw("quick image, 1.75 s", lognormal(1.75, 0.5), asked=1, jobs=500),
    Draw("quick video, 6.7 s", lognormal(6.7, 0.6), asked=2, jobs=200),
)


#: What the fake provider draws, by the name that it has for it.
LIVE_DRAWS = {
    name: Draw(
        f"{name}, {LATENCIES[name].median_seconds:g} s",
        lognormal(LATENCIES[name].median_seconds, LATENCIES[name].sigma),
        asked=LATENCIES[name].poll_after_seconds,
        jobs=500,
    )
    for name in ("image", "video")
}


@dataclass(frozen=True)
class Run:
    polls: float
    lag: float
    lag_p50: float
    lag_p95: float
    #: As a share of the makespan of the list schedule that sees at once what is done.
    makespan: float


class Rule:
    """When to poll next. `asked` is a floor for every rule."""

    def wait(self, now: float, age: float, polls: int, asked: float) -> float:
        raise NotImplementedError

    def note(self, now: float, accepted: float, seconds: float, polls: int) -> None:
        """A job that was accepted at an instant, and took so long, was seen to be done now."""


@dataclass
class Fixed(Rule):
    interval: float

    def wait(self, now: float, age: float, polls: int, asked: float) -> float:
        return max(asked, self.interval * asked)


@dataclass
class Backoff(Rule):
    factor: float

    def wait(self, now: float, age: float, polls: int, asked: float) -> float:
        return asked * self.factor**polls


@dataclass
class ByAge(Rule):
    share: float

    def wait(self, now: float, age: float, polls: int, asked: float) -> float:
        return max(asked, min(self.share * age, MAX_POLL_SECONDS)) * random.uniform(1, 1.1)


class Learned(Rule):
    """The engine's rule; `tells`: the provider says, in whole seconds, when it began and when it was done."""

    def __init__(self, poll_cost: float = POLL_COST, *, tells: bool = True) -> None:
        self._tells = tells
        self._now = 0.0
        self._rows: list[Seen] = []
        self._times = PollTimes(lambda: self._now, poll_cost=poll_cost)

    def wait(self, now: float, age: float, polls: int, asked: float) -> float:
        self._now = now
        if self._times.is_old():
            self._times.learn(self._rows[: -NEWEST - 1 : -1])
        return next_poll_seconds(asked, age_seconds=age, done_times=self._times.of(KIND))

    def note(self, now: float, accepted: float, seconds: float, polls: int) -> None:
        queue = min(random.uniform(*QUEUE_SECONDS), seconds)
        told = math.floor(accepted + seconds) - math.floor(accepted + queue) if self._tells else 0
        self._rows.append(Seen(KIND, now - accepted, polls, told or None))


def simulate(jobs: Draw, rule: Rule, seed: int) -> Run:
    """One batch, worked to its end by one rule."""
    dice = random.Random(seed)
    random.seed(seed)
    seconds = [jobs.seconds(dice, index) for index in range(jobs.jobs)]
    accepted = [0.0] * jobs.jobs
    polls = [0] * jobs.jobs
    lags: list[float] = []
    due: list[tuple[float, int]] = []
    unsent = iter(range(jobs.jobs))
    now = 0.0

    def send() -> None:
        for job in unsent:
            accepted[job] = now
            heapq.heappush(due, (now + rule.wait(now, 0.0, 0, jobs.asked), job))
            return

    for _ in range(CAP):
        send()
    while due:
        now, job = heapq.heappop(due)
        polls[job] += 1
        age = now - accepted[job]
        if age >= seconds[job]:
            lags.append(age - seconds[job])
            rule.note(now, accepted[job], seconds[job], polls[job])
            send()
        else:
            heapq.heappush(due, (now + rule.wait(now, age, polls[job], jobs.asked), job))
    lags.sort()
    return Run(
        polls=mean(polls),
        lag=mean(lags),
        lag_p50=median(lags),
        lag_p95=lags[int(len(lags) * 0.95)],
        makespan=now / zero_lag_makespan(seconds),
    )


def zero_lag_makespan(seconds: Sequence[float]) -> float:
    """Of the list schedule: each place takes the next job the moment its last one is done."""
    free_at = [0.0] * CAP
    for each in seconds:
        heapq.heapreplace(free_at, free_at[0] + each)
    return max(free_at)


def typical(jobs: Draw, rule: Callable[[], Rule]) -> Run:
    """The medians over the seeds."""
    runs = [simulate(jobs, rule(), seed) for seed in SEEDS]
    return Run(*(median(getattr(run, name) for run in runs) for name in Run.__dataclass_fields__))


RULES: dict[str, list[Callable[[], Rule]]] = {
    "fixed interval": [lambda by=by: Fixed(by) for by in (1, 1.25, 1.5, 2, 3, 4, 6, 8)],
    "exponential backoff": [lambda by=by: Backoff(by) for by in (1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 2)],
    "a share of the age": [lambda by=by: ByAge(by) for by in (0.03, 0.05, 0.1, 0.2, 0.4)],
    "learned": [lambda by=by: Learned(by) for by in (0.0001, 0.0003, POLL_COST, 0.003, 0.01, 0.03, 0.1)],
}


def frontier(jobs: Draw, name: str) -> list[Run]:
    return sorted((typical(jobs, rule) for rule in RULES[name]), key=lambda run: run.polls)


def interpolated(xs: Sequence[float], ys: Sequence[float], at: float) -> float | None:
    """Where a frontier (by rising x) passes, straight between its points in logarithms; None beyond its ends."""
    right = bisect(xs, at)
    if not 0 < right < len(xs):
        return None
    (left_x, right_x), (left_y, right_y) = xs[right - 1 : right + 1], ys[right - 1 : right + 1]
    share = math.log(at / left_x) / math.log(right_x / left_x)
    return math.exp(math.log(left_y) + share * math.log(right_y / left_y))


def against(shipped: Run, other: Sequence[Run]) -> str:
    """Our lag as a share of that of another frontier for the same polls, and our polls for the same lag."""
    lag = interpolated([run.polls for run in other], [run.lag for run in other], shipped.polls)
    falling = other[::-1]
    polls = interpolated([run.lag for run in falling], [run.polls for run in falling], shipped.lag)
    pairs = ((shipped.lag, lag), (shipped.polls, polls))
    return " / ".join("-" if theirs is None else f"{ours / theirs:.2f}" for ours, theirs in pairs)


def panel(
    jobs: Draw, frontiers: Mapping[str, Sequence[Run]], shipped: Run, live: Mapping[str, tuple[float, float]] = {}
) -> Panel:
    """The picture of one draw."""
    curves = [Curve(name, [(run.polls, run.lag) for run in runs]) for name, runs in frontiers.items()]
    return Panel(f"{jobs.title} (asks for {jobs.asked:g} s)", curves, (shipped.polls, shipped.lag), live)


def live_points(names: Sequence[str], latency: str) -> dict[str, tuple[float, float]]:
    """Polls a job and mean lag (seconds) of one real run of each contender."""
    points = {}
    for name in names:
        outcome = measure(contenders()[name], LIVE_DRAWS[latency].jobs, latency)
        points[name] = outcome.polls / outcome.job_count, outcome.mean_lag_seconds
        print(f"{name} {latency}: {points[name][0]:.2f} polls a job, {points[name][1]:.2f} s", file=sys.stderr)
    return points


def rows_against(frontiers: Mapping[str, Mapping[str, Sequence[Run]]], shipped: Mapping[str, Run]) -> list[list[str]]:
    """One for each draw."""
    rows = []
    for jobs in DRAWS:
        run = shipped[jobs.title]
        lags = f"{run.lag:.2f}, {run.lag_p50:.2f}, {run.lag_p95:.2f}"
        others = [against(run, runs) for name, runs in frontiers[jobs.title].items() if name != "learned"]
        rows.append([jobs.title, f"{run.polls:.1f}", lags, *others])
    return rows


def rows_of_makespan() -> list[list[str]]:
    """One for each draw."""
    rows = []
    for jobs in DRAWS:
        rules = (lambda: Fixed(1), lambda: ByAge(0.1), Learned, lambda: Learned(tells=False))
        runs = [typical(jobs, rule) for rule in rules]
        cells = [f"{run.makespan - 1:+.1%}, {run.polls:.1f}" for run in runs]
        rows.append([jobs.title, f"{jobs.asked:g} s", *cells])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", help="contenders to run, with commas")
    parser.add_argument("--write", action="store_true", help="put tables and picture into docs/")
    chosen = parser.parse_args()
    frontiers = {jobs.title: {name: frontier(jobs, name) for name in RULES} for jobs in DRAWS}
    shipped = {jobs.title: typical(jobs, Learned) for jobs in DRAWS}
    texts = {
        "polling": table.markdown(HEAD_AGAINST, rows_against(frontiers, shipped)),
        "polling-makespan": table.markdown(HEAD_MAKESPAN, rows_of_makespan()),
    }
    print(*texts.values(), sep="\n\n")
    if not chosen.write:
        return
    for name, text in texts.items():
        table.write(name, text)
    panels = [panel(jobs, frontiers[jobs.title], shipped[jobs.title]) for jobs in DRAWS]
    for name, jobs in LIVE_DRAWS.items() if chosen.live else ():
        simulated = {rule: frontier(jobs, rule) for rule in RULES}
        panels.append(panel(jobs, simulated, typical(jobs, Learned), live_points(chosen.live.split(","), name)))
    PICTURE.write_text(draw(panels), encoding="utf-8")


if __name__ == "__main__":
    main()
