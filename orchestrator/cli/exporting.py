"""`export`: a batch's results as data, or its jobs as a manifest."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from orchestrator.base.errors import UsageError
from orchestrator.base.states import JobState
from orchestrator.cli.console import print_json, print_raw
from orchestrator.cli.params import AsJson, Batch
from orchestrator.cli.spreadsheet import csv_lines
from orchestrator.cli.words import money

_JOB_COLUMNS = ("id", "type", "model", "prompt", "state", "reused_from", "fingerprint")
_FILE_COLUMNS = ("index", "uri", "sha256", "bytes", "mime_type", "width", "height", "duration_seconds")


def export(
    batch: Batch,
    state: Annotated[JobState | None, typer.Option(metavar="STATE", help="Only jobs in this state.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row a file, as CSV on stdout (the default).")] = False,
    as_manifest: Annotated[
        bool, typer.Option("--manifest", help="A manifest of the jobs, to be edited and submitted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a batch's results, or its jobs as a manifest, to stdout."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import exporting

    if as_csv + as_manifest + as_json > 1:
        raise UsageError("--csv, --json and --manifest exclude each other")
    settings = load_settings()
    if as_manifest:
        print_raw(exporting.manifest(batch, settings, state=state))
        return
    documents = exporting.results(batch, settings, state=state)
    if as_json:
        print_json(documents)
    else:
        print_raw("".join(_lines(documents)))


def _lines(documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One row a file, or a job without one, with the columns of the jobs' rows at the end."""
    of_rows = list(dict.fromkeys(name for job in documents for name in job["row"] or {}))
    facts = [*_JOB_COLUMNS, "spent", "unit", "error", "message", "labels", *_FILE_COLUMNS]
    names = [f"row.{name}" if name in facts else name for name in of_rows]
    rows = (
        [
            *_job_cells(job),
            *(file.get(column) for column in _FILE_COLUMNS),
            *((job["row"] or {}).get(n) for n in of_rows),
        ]
        for job in documents
        for file in job["assets"] or [{}]
    )
    return csv_lines([*facts, *names], rows)


def _job_cells(job: dict[str, Any]) -> list[Any]:
    error = job["error"] or {}
    labels = "; ".join(f"{name}={value}" for name, value in job["labels"].items())
    amounts, unit = money(job)
    return [
        *(job[column] for column in _JOB_COLUMNS),
        amounts["spent"],
        unit,
        error.get("code"),
        error.get("message"),
        labels,
    ]
