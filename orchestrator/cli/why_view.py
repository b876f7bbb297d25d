"""What the jobs of a batch wait for, for people: a few lines a state."""

from typing import Any

from rich.text import Text

from orchestrator.cli.batch_view import state_text
from orchestrator.cli.console import printable
from orchestrator.cli.words import counted, since_text

_MOVERS = {
    "worker": "a worker",
    "provider": "the provider",
    "person": "you",
    "job": "the jobs that it waits for",
    "nobody": "nobody, until you start a worker",
}


def why_lines(document: dict[str, Any]) -> list[Text]:
    """Of each state that jobs can leave: how many are in it, the oldest, what that waits for and who moves it next."""
    if not document["why"]:
        return [Text("no job of it can move any more")]
    return [_reason(row) for row in document["why"]]


def _reason(row: dict[str, Any]) -> Text:
    oldest = f"the oldest is {row['job']} ({row['model']}) {since_text(row['since'])}"
    until = f", at {row['until']}" if row["until"] else ""
    return Text.assemble(
        state_text(row["state"]),
        f": {counted(row['jobs'], 'job')}, {printable(oldest)}\n",
        f"  waits for: {printable(row['waits_for'])}\n",
        f"  moved by: {_MOVERS[row['mover']]}{until}",
        f"\n  next: {printable(row['command'])}" if row["command"] else "",
        overflow="fold",
    )
