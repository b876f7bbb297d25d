"""Jobs a second and CPU a job where the provider takes no time: `python -m benchmarks.overhead [--only ours,...]`."""

import argparse
import statistics
import sys

from benchmarks import table
from benchmarks.contenders import Contender, contenders
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


def chosen(arguments: argparse.Namespace) -> list[Contender]:
    """Those named by `--only`, or all."""
    everyone = contenders()
    names = arguments.only.split(",") if arguments.only else list(everyone)
    unknown = [name for name in names if name not in everyone]
    if unknown:
        sys.exit(f"no such contender: {', '.join(unknown)}; there are {', '.join(everyone)}")
    return [everyone[name] for name in names]


def options(description: str, job_count: int, runs: int) -> argparse.ArgumentParser:
    """The options that all of these measurements share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--jobs", type=int, default=job_count)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    return parser


def main() -> None:
    arguments = options("Overhead at a provider that takes no time.", 5_000, 3).parse_args()
    results: dict[str, list[Outcome]] = {}
    for _ in range(arguments.runs):
        for contender in chosen(arguments):
            outcome = measure(contender, arguments.jobs)
            results.setdefault(contender.name, []).append(outcome)
            print(f"{contender.name}: {outcome.jobs_per_second:.1f} jobs/s", file=sys.stderr)
    text = table.markdown(HEAD, rows(results))
    print(text)
    if arguments.write:
        table.write("overhead", text)


if __name__ == "__main__":
    main()
