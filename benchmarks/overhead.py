"""Jobs a second and CPU a job where the provider takes no time: `python -m benchmarks.overhead [--only ours,...]`."""

import statistics
import sys

from benchmarks import table
from benchmarks.contenders import contenders
from benchmarks.options import chosen, options
from benchmarks.running import Outcome, measure

HEAD = (
    "contender",
    "jobs",
    "jobs/s",
    "jobs/s without start",
    "ours is",
    "CPU s/1,000",
    "of it servers",
    "write tx/job",
    "polls/job",
    "max in flight",
)


def rows(results: dict[str, list[Outcome]]) -> list[list[str]]:
    """One for each contender; the ratios are to our own rate, where it was measured."""
    ours = [outcome.jobs_per_second for outcome in results.get("ours", [])]
    return [_row(name, outcomes, ours) for name, outcomes in results.items()]


def _row(name: str, outcomes: list[Outcome], ours: list[float]) -> list[str]:
    rates = [outcome.jobs_per_second for outcome in outcomes]
    count = outcomes[0].job_count
    writes = [outcome.write_transactions / count for outcome in outcomes if outcome.write_transactions is not None]
    return [
        name,
        f"{count:,}",
        table.figure(rates),
        table.figure([count / outcome.span_seconds for outcome in outcomes]),
        f"{table.ratio(ours, rates)} x" if ours and name != "ours" else "",
        table.figure([outcome.cpu_per_thousand for outcome in outcomes], 2),
        f"{statistics.median(1_000 * outcome.server_cpu_seconds / count for outcome in outcomes):.2f}",
        table.figure(writes, 2) if writes else "",
        table.figure([outcome.polls / count for outcome in outcomes]),
        str(max(outcome.max_in_flight for outcome in outcomes)),
    ]


def main() -> None:
    arguments = options("Overhead at a provider that takes no time.", 5_000, 3).parse_args()
    results: dict[str, list[Outcome]] = {}
    for _ in range(arguments.runs):
        for contender in chosen(arguments, contenders()):
            outcome = measure(contender, arguments.jobs)
            results.setdefault(contender.name, []).append(outcome)
            print(f"{contender.name}: {outcome.jobs_per_second:.1f} jobs/s", file=sys.stderr)
    text = table.markdown(HEAD, rows(results))
    print(text)
    if arguments.write:
        table.write("overhead", text)


if __name__ == "__main__":
    main()
