"""What starting takes, as ratios to `python -c pass` beside it: `python -m benchmarks.startup`.

`status` looks at a database that runs, the embedded one, in which one batch was worked to its end.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import table
from benchmarks.contenders import ROOT, Command, Contender, Scene, contenders
from benchmarks.running import run_to_end, scene

HEAD = ("command", "wall, ms", "to `pass`", "CPU, ms", "to `pass`")
#: What is behind the last ratio: the least that a program takes which uses them.
_PARTS = ("typer", "psycopg", "sqlalchemy", "pydantic_settings", "sqlmodel")
_PASS = "python -c pass"


@dataclass(frozen=True, slots=True)
class Start:
    """One process from its start to its end."""

    wall_seconds: float
    cpu_seconds: float


def commands() -> dict[str, Command]:
    """By how a user would write them; the plain interpreter first."""
    script = str(Path(sys.executable).with_name("orchestrator"))
    ours = ("--help", "--version", "status", "status latest --json", "jobs latest --json")
    return (
        {_PASS: (sys.executable, "-c", "pass")}
        | {f"orchestrator {words}": (script, *words.split()) for words in ours}
        | {f"python -c 'import {part}'": (sys.executable, "-c", f"import {part}") for part in _PARTS}
    )


def timed(command: Command, environment: dict[str, str]) -> Start:
    """One start of a command, without a terminal."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return Start(time.perf_counter() - began, used.ru_utime + used.ru_stime)


def measured(contender: Contender, ready: Scene, runs: int) -> dict[str, list[Start]]:
    """All commands in turn, so many times, after one time that fills the caches."""
    environment = contender.environment(ready)
    found: dict[str, list[Start]] = {name: [] for name in commands()}
    for number in range(runs + 1):
        for name, command in commands().items():
            start = timed(command, environment)
            if number:
                found[name].append(start)
    return found


def rows(found: dict[str, list[Start]]) -> list[list[str]]:
    """One for each command. A ratio is the median of those to the `pass` of the same turn."""
    base = found[_PASS]
    result = []
    for name, starts in found.items():
        wall = [start.wall_seconds / by.wall_seconds for start, by in zip(starts, base, strict=True)]
        cpu = [start.cpu_seconds / by.cpu_seconds for start, by in zip(starts, base, strict=True)]
        result.append(
            [
                f"`{name}`",
                table.figure([1_000 * start.wall_seconds for start in starts], 0),
                f"{statistics.median(wall):.1f} x",
                table.figure([1_000 * start.cpu_seconds for start in starts], 0),
                f"{statistics.median(cpu):.1f} x",
            ]
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="What it takes to start.")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    ours = contenders()["ours"]
    with scene(ours, 20, "zero") as ready:
        run_to_end(ours.workers[0], ours, ready)
        text = table.markdown(HEAD, rows(measured(ours, ready, arguments.runs)))
    print(text)
    if arguments.write:
        table.write("startup", text)


if __name__ == "__main__":
    main()
