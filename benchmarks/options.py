"""The command line that the comparisons share."""

import argparse
import signal
import sys

from benchmarks.contenders import Contender


def options(description: str, job_count: int, runs: int) -> argparse.ArgumentParser:
    """Which contenders, how many jobs, how often, and whether the page is written."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are stopped on the way out
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--jobs", type=int, default=job_count)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    return parser


def chosen(arguments: argparse.Namespace, everyone: dict[str, Contender]) -> list[Contender]:
    """Those named by `--only`, or all."""
    names = arguments.only.split(",") if arguments.only else list(everyone)
    unknown = [name for name in names if name not in everyone]
    if unknown:
        sys.exit(f"no such contender: {', '.join(unknown)}; there are {', '.join(everyone)}")
    return [everyone[name] for name in names]
