"""Time for a batch at 64 jobs in flight beside the best possible: `python -m benchmarks.makespan [--latency video]`.

The best possible is the list schedule of the same draws in the same order, each end seen at once.
"""

import statistics
import sys

from benchmarks import jobs, table
from benchmarks.contenders import contenders
from benchmarks.draws import LATENCIES, list_schedule_seconds
from benchmarks.options import chosen, options
from benchmarks.running import Outcome, measure
from benchmarks.site import CAP

HEAD = (
    "contender",
    "draws",
    "jobs",
    "span, s",
    "over the best",
    "polls/job",
    "lag p50, s",
    "lag p95, s",
    "max in flight",
)


def best_seconds(latency: str, job_count: int, seed: int) -> float:
    """The list schedule for the jobs that every contender is given."""
    draw = LATENCIES[latency]
    return list_schedule_seconds((draw.seconds(jobs.prompt_of(job), seed) for job in jobs.job_ids(job_count)), CAP)


def _row(name: str, latency: str, outcomes: list[Outcome]) -> list[str]:
    count = outcomes[0].job_count
    over = [
        100 * (outcome.span_seconds / best_seconds(latency, count, seed) - 1) for seed, outcome in enumerate(outcomes)
    ]
    cuts = [statistics.quantiles(outcome.lags, n=20) for outcome in outcomes]
    return [
        name,
        latency,
        f"{count:,}",
        table.figure([outcome.span_seconds for outcome in outcomes]),
        f"{table.figure(over)} %",
        table.figure([outcome.polls / count for outcome in outcomes], 2),
        table.figure([cut[9] for cut in cuts], 2),
        table.figure([cut[18] for cut in cuts], 2),
        str(max(outcome.max_in_flight for outcome in outcomes)),
    ]


def main() -> None:
    parser = options("Makespan at 64 jobs in flight.", 500, 3)
    parser.add_argument("--latency", choices=["image", "video"], help="only these draws")
    arguments = parser.parse_args()
    results: dict[tuple[str, str], list[Outcome]] = {}
    for seed in range(arguments.runs):
        for latency in [arguments.latency] if arguments.latency else ["image", "video"]:
            for contender in chosen(arguments, contenders()):
                outcome = measure(contender, arguments.jobs, latency, seed)
                results.setdefault((contender.name, latency), []).append(outcome)
                print(f"{contender.name} {latency}: {outcome.span_seconds:.1f} s", file=sys.stderr)
    text = table.markdown(HEAD, [_row(name, latency, outcomes) for (name, latency), outcomes in results.items()])
    print(text)
    if arguments.write:
        table.write("makespan", text)


if __name__ == "__main__":
    main()
