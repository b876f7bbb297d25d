"""The jobs of a batch: as a table, grouped by error, and as CSV that no spreadsheet will compute."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from orchestrator.base.money import canonical, unit_word
from orchestrator.cli.batch_view import state_text
from orchestrator.cli.console import safe
from orchestrator.cli.spreadsheet import csv_lines
from orchestrator.cli.words import money, money_text, place

#: Laying out a table takes longer the more there is: who has many jobs sees the first of them at once.
_ROWS_A_TABLE = 500


def job_tables(jobs: Sequence[dict[str, Any]]) -> Iterator[Table]:
    """One row a job, with what it gave or why it did not; of many jobs, one table after the other."""
    for start in range(0, len(jobs), _ROWS_A_TABLE):
        yield _job_table(jobs[start : start + _ROWS_A_TABLE])


def _job_table(jobs: Sequence[dict[str, Any]]) -> Table:
    table = Table("job", "model", "state", box=SIMPLE_HEAD)
    table.add_column("spent", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for job in jobs:
        table.add_row(
            safe(job["id"]),
            safe(job["model"]),
            state_text(job["state"]),
            _spent(job),
            safe(_result(job)),
        )
    return table


def _spent(row: dict[str, Any]) -> str:
    """What a job, or all of a group, spent: credits as a plain number, USDC named."""
    amounts, unit = money(row)
    if amounts["spent"] is None:
        return ""
    return str(amounts["spent"]) if unit == "credits" else money_text(amounts["spent"], unit)


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
        return f"sent, answer lost ({reason}); {job['price']} {unit_word(money(job)[1])} at stake"
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
            "credits": {"spent": _sum_spent(group, "credits")},
            "usdc": None if group[0]["usdc"] is None else {"spent": _sum_spent(group, "usdc")},
            "message": group[0]["error"]["message"],
            "example": group[0]["id"],
        }
        for code, group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-int(str(row["jobs"])), str(row["code"])))


def _sum_spent(group: Sequence[dict[str, Any]], unit: str) -> str:
    return canonical(sum((Decimal(job[unit]["spent"] or 0) for job in group), Decimal(0)))


def error_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The groups of `by_error`."""
    table = Table("error", box=SIMPLE_HEAD)
    table.add_column("jobs", justify="right")
    table.add_column("spent", justify="right")
    table.add_column("for example")
    for row in rows:
        table.add_row(row["code"], str(row["jobs"]), _spent(row), safe(f"{row['example']}: {row['message']}"))
    return table


def jobs_csv(jobs: Sequence[dict[str, Any]]) -> str:
    """The jobs as CSV, one row a job; amounts in credits, or in the `unit` of a last column."""
    columns = ("id", "type", "model", "state", "attempts", "request_id", "estimated", "spent", "error", "message",
               "charged", "labels", "files", *_unit_column(jobs))  # fmt: skip
    return "".join(csv_lines(columns, (_job_row(job) for job in jobs)))


def _unit_column(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The column that says that the amounts are no credits."""
    return () if all(money(row)[1] == "credits" for row in rows) else ("unit",)


def _job_row(job: dict[str, Any]) -> list[Any]:
    error = job["error"] or {}
    labels = "; ".join(f"{name}={value}" for name, value in job["labels"].items())
    amounts, unit = money(job)
    return [
        *(job[column] for column in ("id", "type", "model", "state", "attempts", "request_id")),
        amounts["estimated"],
        amounts["spent"],
        *(error.get(column) for column in ("code", "message", "charged")),
        labels,
        " ".join(asset["uri"] for asset in job["assets"]),
        *([] if unit == "credits" else [unit]),
    ]


def errors_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The groups of `by_error` as CSV."""
    columns = ("error", "jobs", "spent", "message", "example", *_unit_column(rows))
    lines = (
        [
            row["code"],
            row["jobs"],
            amounts["spent"],
            row["message"],
            row["example"],
            *([unit] if unit == "usdc" else []),
        ]
        for row in rows
        for amounts, unit in [money(row)]
    )
    return "".join(csv_lines(columns, lines))
