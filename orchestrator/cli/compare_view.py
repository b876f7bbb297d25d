"""How a plan compares with its collection, for people."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.console import safe
from orchestrator.cli.words import counted, place

if TYPE_CHECKING:
    from orchestrator.planner.compare import Comparison

_WORDS = {
    "new": "new",
    "changed": "changed",
    "reused": "reused",
    "asset-missing": "bought again for a missing file",
    "retried": "tried again",
    "failed-before": "skipped: failed before, unchanged",
    "in-doubt": "skipped: in doubt",
    "under-way": "skipped: paid for, not stored yet",
    "dependency-failed": "skipped: what they need is",
    "again": "bought again as you said",
    "removed": "removed",
}
#: Jobs that a table lists: the reused ones are only counted, and of the others there may be thousands.
_SHOWN = 50


def comparison_line(comparison: "Comparison") -> list[Text]:
    """How many jobs stand how, in one line; nothing where all of them are new."""
    counts = {name: number for name, number in comparison.counts().items() if number}
    if not counts.keys() - {"new"}:
        return []
    line = "collection: " + " · ".join(f"{number} {_WORDS[name]}" for name, number in counts.items())
    return [safe(line + _copied(comparison))]


def _copied(comparison: "Comparison") -> str:
    """What is reused from other destinations, whose files `submit` copies to this one."""
    here = comparison.history.destination
    elsewhere = [past.destination for past in comparison.reused.values() if past.destination != here]
    if not elsewhere:
        return ""
    places = ", ".join(sorted({place(uri) for uri in elsewhere}))
    return f"; the files of {counted(len(elsewhere), 'job')} are copied from {places}"


def comparison_table(comparison: "Comparison") -> list[RenderableType]:
    """What is not simply reused, each with the reason, and what is not in the manifest any more."""
    told = [verdict for verdict in comparison.verdicts if verdict.standing != "reused"]
    rows = [(verdict.job.id, str(verdict.standing), verdict.reason()) for verdict in told]
    rows += [(name, "removed", "not in the manifest any more; its files stay") for name in comparison.removed]
    if not rows:
        return []
    table = Table("job", "is", "why", box=SIMPLE_HEAD)
    for name, standing, reason in rows[:_SHOWN]:
        table.add_row(safe(name), standing, safe(reason))
    more = len(rows) - _SHOWN
    return [table, *([Text(f"and {more} more: --json lists them all", style="dim")] if more > 0 else [])]
