"""The jobs of a batch: as a table, grouped by error, and as CSV that no spreadsheet will compute."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from orchestrator.base.money import canonical
from orchestrator.cli.batch_view import state_text
from orchestrator.cli.console import safe
from orchestrator.cli.spreadsheet import csv_lines
from orchestrator.cli.words import place


def job_table(jobs: Sequence[dict[str, Any]]) -> Table:
    """One row a job, with what it gave or why it did not."""
    table = Table("job", "model", "state", box=SIMPLE_HEAD)
    table.add_column("spent", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for job in jobs:
        spent = job["credits"]["spent"]
        table.add_row(
            safe(job["id"]),
            safe(job["model"]),
            state_text(job["state"]),
            spent if spent is not None else "",
            safe(_result(job)),
        )
    return table


_WAITS = {
    "canary": "waits for the canary to be approved",
    "dependency": "waits for the jobs that it needs",
    "gate": "waits until someone has looked at what it needs",
}


def _result(job: dict[str, Any]) -> str:
    if job["error"] is not None:
        return f"{job['error']['code']}: {job['error']['message']}"
    if job["waits_for"] is not None:
        return _WAITS[job["waits_for"]]
    if job["assets"]:
        return ", ".join(place(asset["uri"]) for asset in job["assets"])
    if job["state"] == "in_doubt":
        reason = (job["last_answer"] or {}).get("reason", "no answer")
        return f"sent, answer lost ({reason}); {job['price']} credits at stake"
    if job["state"] == "pending" and job["history"] and job["history"][-1]["outcome"] in ("refused", "not_sent"):
        return f"sent back: {job['history'][-1]['reason']}"
    return str(job["copy_error"] or job["provider_status"] or "")


def by_error(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The failed jobs by error code, the most frequent first, with what they cost and one of them as an example."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        if job["error"] is not None:
            groups.setdefault(job["error"]["code"], []).append(job)
    rows = [
        {
            "code": code,
            "jobs": len(group),
            "credits": {"spent": canonical(sum((Decimal(job["credits"]["spent"] or 0) for job in group), Decimal(0)))},
            "message": group[0]["error"]["message"],
            "example": group[0]["id"],
        }
        for code, group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-int(str(row["jobs"])), str(row["code"])))


def error_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The groups of `by_error`."""
    table = Table("error", box=SIMPLE_HEAD)
    table.add_column("jobs", justify="right")
    table.add_column("spent", justify="right")
    table.add_column("for example")
    for row in rows:
        table.add_row(
            row["code"], str(row["jobs"]), row["credits"]["spent"], safe(f"{row['example']}: {row['message']}")
        )
    return table


def jobs_csv(jobs: Sequence[dict[str, Any]]) -> str:
    """The jobs as CSV, one row a job."""
    columns = ("id", "type", "model", "state", "attempts", "request_id", "estimated", "spent", "error", "message",
               "charged", "labels", "files")  # fmt: skip
    return "".join(csv_lines(columns, (_job_row(job) for job in jobs)))


def _job_row(job: dict[str, Any]) -> list[Any]:
    error = job["error"] or {}
    labels = "; ".join(f"{name}={value}" for name, value in job["labels"].items())
    return [
        *(job[column] for column in ("id", "type", "model", "state", "attempts", "request_id")),
        job["credits"]["estimated"],
        job["credits"]["spent"],
        *(error.get(column) for column in ("code", "message", "charged")),
        labels,
        " ".join(asset["uri"] for asset in job["assets"]),
    ]


def errors_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The groups of `by_error` as CSV."""
    columns = ("error", "jobs", "spent", "message", "example")
    lines = ([row["code"], row["jobs"], row["credits"]["spent"], row["message"], row["example"]] for row in rows)
    return "".join(csv_lines(columns, lines))
