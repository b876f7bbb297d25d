"""What differs between two catalogues."""

from dataclasses import dataclass
from typing import Any

from orchestrator.catalog.models import Catalog

_KINDS = {"aspect_ratios": "aspects", "custom_rules": "rules"}
_UNIMPORTANT = frozenset({"description", "thumbnail", "features", "release_date", "model_key", "x402"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `kind` is added, removed, price, aspects, rules or the field's name."""

    model: str
    kind: str
    field: str | None = None
    before: Any = None
    after: Any = None


def changes(old: Catalog, new: Catalog) -> list[Change]:
    """By model name: what a user of `old` has to know about `new`."""
    found: list[Change] = []
    for name in sorted(old.models.keys() | new.models.keys()):
        before, after = old.get(name), new.get(name)
        if before is None:
            found.append(Change(name, "added"))
        elif after is None:
            found.append(Change(name, "removed"))
        else:
            found.extend(_differences(name, before.document(), after.document()))
    return found


def _differences(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    fields = [field for field in {**before, **after} if field not in _UNIMPORTANT and not field.startswith("usd")]
    return [
        Change(name, _kind(field), field, before.get(field), after.get(field))
        for field in fields
        if before.get(field) != after.get(field)
    ]


def _kind(field: str) -> str:
    return "price" if field.startswith("credits") else _KINDS.get(field, field)
