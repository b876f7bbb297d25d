"""What changed between two catalogues, for people and for scripts."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from orchestrator.base.money import canonical, optional_canonical
from orchestrator.cli.console import safe
from orchestrator.cli.words import counted, value_text

if TYPE_CHECKING:
    from orchestrator.catalog.changes import Change, Effect

_COLOURS: "dict[Effect, str]" = {
    "gone": "red",
    "dearer": "red",
    "cheaper": "green",
    "new": "green",
    "changed": "yellow",
}
_URGENCY: "tuple[Effect, ...]" = ("gone", "dearer", "cheaper", "new", "changed")


def change_document(change: "Change") -> dict[str, Any]:
    """One difference in JSON; `percent` is by how much a price rose, or fell where it is negative."""
    return {
        "model": change.model,
        "kind": change.kind,
        "effect": change.effect,
        "field": change.field,
        "before": change.before,
        "after": change.after,
        "percent": optional_canonical(change.percent),
    }


def changes_summary(changes: "Sequence[Change]") -> str:
    """`3 changes: 1 gone, 2 dearer`."""
    counts = Counter(change.effect for change in changes)
    by_effect = ", ".join(f"{counts[effect]} {effect}" for effect in _URGENCY if counts[effect])
    return counted(len(changes), "change") + (f": {by_effect}" if by_effect else "")


def changes_table(changes: "Sequence[Change]") -> Table:
    """What costs or breaks something first."""
    table = Table("", "model", "what", "before", "now", box=SIMPLE_HEAD)
    for change in sorted(changes, key=lambda change: _URGENCY.index(change.effect)):
        what, before, now = _cells(change)
        table.add_row(
            safe(change.effect, _COLOURS[change.effect]), safe(change.model), safe(what), safe(before), safe(now)
        )
    return table


def _cells(change: "Change") -> tuple[str, str, str]:
    """What changed, and how it was and is; of a list, only what is gone (-) and what is new (+)."""
    if change.field is None:
        return f"{(change.before or change.after)['type']} model", _price_of(change.before), _price_of(change.after)
    name, _, seconds = change.field.partition(".")
    what = f"credits for {seconds} s" if seconds else name.replace("_", " ")
    if isinstance(change.before, list) and isinstance(change.after, list):
        gone = [item for item in change.before if item not in change.after]
        new = [item for item in change.after if item not in change.before]
        return what, f"- {value_text(gone)}" if gone else "", f"+ {value_text(new)}" if new else ""
    return what, value_text(change.before), value_text(change.after) + _percent(change)


def _price_of(document: dict[str, Any] | None) -> str:
    """The price of a whole model."""
    prices = {field: value for field, value in (document or {}).items() if field.startswith("credits") and value}
    return ", ".join(f"{value_text(value)}{_unit(field)}" for field, value in prices.items()) or "-"


def _unit(field: str) -> str:
    return "" if field == "credits_by_duration" else f" {field.replace('_', ' ')}"


def _percent(change: "Change") -> str:
    if change.percent is None:
        return ""
    return f" ({'+' if change.percent >= 0 else ''}{canonical(change.percent)}%)"
