"""What planning takes beside reading alone, as ratios: `python -m benchmarks.plan`.

Each is a process of its own, one after the other: its CPU seconds, without those of its imports, and its peak memory.
Beside CSV stands `csv` with pydantic validating each row once, beside YAML PyYAML's C loader with the garbage
collector off. JSONL stands beside the CSV of the same jobs.
"""

import argparse
import csv
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from benchmarks import table

HEAD = ("manifest", "CPU, s", "read alone, CPU, s", "ratio", "peak, MB", "read alone, MB")
#: Each manifest, and what is read alone beside it.
SUBJECTS = {
    "for_each.yaml": "rows.csv",
    "bare.csv": "bare.csv",
    "bare.jsonl": "bare.csv",
    "photos.csv": "photos.csv",
    "jobs.yaml": "jobs.yaml",
}
_FIELDS = ("id", "type", "model", "prompt", "aspect_ratio", "output_format")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took. `peak_mb` is its largest resident set."""

    cpu_seconds: float
    peak_mb: float


def write_manifests(folder: Path, count: int) -> None:
    """The same `count` jobs as rows of a template, as bare lists and as explicit YAML; `photos.csv` has a picture more
    for each of them.
    """
    (folder / "for_each.yaml").write_text(
        "version: 1\nname: rows\njobs:\n  - id: '{{ id }}'\n    for_each: rows.csv\n    type: image\n"
        "    model: gpt-image-2\n    prompt: 'Studio photo of {{ name }}, {{ colour }}'\n"
        "    aspect_ratio: '{{ ratio }}'\n    output_format: png\n"
    )
    numbers = range(count)
    with (folder / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "name", "colour", "ratio"))
        rows.writerows((f"job-{number}", f"mug {number}", "blue", _ratio(number)) for number in numbers)
    with (folder / "bare.csv").open("w", newline="") as file:
        jobs = csv.DictWriter(file, _FIELDS)
        jobs.writeheader()
        jobs.writerows(map(_job, numbers))
    with (folder / "photos.csv").open("w", newline="") as file:
        jobs = csv.DictWriter(file, (*_FIELDS, "image_url"))
        jobs.writeheader()
        jobs.writerows(_job(number) | {"image_url": f"https://example.com/mugs/{number}.png"} for number in numbers)
    with (folder / "bare.jsonl").open("w") as file:
        file.writelines(json.dumps(_job(number)) + "\n" for number in numbers)
    with (folder / "jobs.yaml").open("w") as file:
        file.write("version: 1\nname: explicit\njobs:\n")
        for job in map(_job, numbers):
            lines = "\n    ".join(f"{name}: {value}" for name, value in job.items())
            file.write(f"  - {lines}\n")


def _job(number: int) -> dict[str, str]:
    prompt = f"Studio photo of mug {number}, blue"
    return dict(zip(_FIELDS, (f"job-{number}", "image", "gpt-image-2", prompt, _ratio(number), "png"), strict=True))


def _ratio(number: int) -> str:
    return "1:1" if number % 2 else "9:16"


def plan_manifest(path: Path) -> None:
    """Validates and prices all of it, as `plan` does."""
    from orchestrator.catalog.bundled import bundled_catalog
    from orchestrator.planner.plan import plan

    catalog = bundled_catalog()
    _report(lambda: plan(path, catalog, usd_per_credit=Decimal("0.0052")).valid)


def read_alone(path: Path) -> None:
    """What anybody would have to do at least."""
    _report(_yaml_reader(path) if path.suffix == ".yaml" else _csv_reader(path))


def _yaml_reader(path: Path) -> Callable[[], bool]:
    import yaml

    gc.disable()
    return lambda: bool(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader))


def _csv_reader(path: Path) -> Callable[[], bool]:
    from pydantic import create_model

    def read() -> bool:
        with path.open(newline="") as file:
            return bool([row_model.model_validate(cells) for cells in csv.DictReader(file)])

    with path.open(newline="") as file:
        columns = dict.fromkeys(next(csv.reader(file)), str)
    row_model = create_model("Row", **columns)  # type: ignore[call-overload]  # the columns are the file's
    return read


def _report(work: Callable[[], bool]) -> None:
    began = time.process_time()
    if not work():
        raise RuntimeError("nothing was read, or the manifest is invalid")
    cpu_seconds = time.process_time() - began
    print(json.dumps((cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)))


def measured(how: str, path: Path) -> Cost:
    """One process that plans or reads a file."""
    command = (sys.executable, "-m", "benchmarks.plan", how, str(path))
    return Cost(*json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def row(name: str, planned: list[Cost], read: list[Cost]) -> list[str]:
    """One line of the table; the ratio is the median of those of one turn."""
    ratios = [one.cpu_seconds / by.cpu_seconds for one, by in zip(planned, read, strict=True)]
    return [
        f"`{name}`",
        table.figure([cost.cpu_seconds for cost in planned], 2),
        table.figure([cost.cpu_seconds for cost in read], 2),
        f"{statistics.median(ratios):.1f} x",
        table.figure([cost.peak_mb for cost in planned], 0),
        table.figure([cost.peak_mb for cost in read], 0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="What planning takes beside reading alone.")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        plan_manifest(arguments.plan)
    elif arguments.read:
        read_alone(arguments.read)
    else:
        compare(arguments.jobs, arguments.runs, write=arguments.write)


def compare(count: int, runs: int, *, write: bool) -> None:
    """All manifests in turn, so many times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_manifests(folder, count)
        turns = [
            {subject: (measured("--plan", folder / subject), measured("--read", folder / beside))}
            for _ in range(runs)
            for subject, beside in SUBJECTS.items()
        ]
        lines = []
        for subject in SUBJECTS:
            found = [turn[subject] for turn in turns if subject in turn]
            lines.append(row(subject, [planned for planned, _ in found], [read for _, read in found]))
    text = table.markdown(HEAD, lines)
    print(text)
    if write:
        table.write("plan", text)


if __name__ == "__main__":
    main()
