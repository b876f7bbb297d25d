"""What differs between two catalogues."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from orchestrator.catalog.models import AnyModel, Catalog

Effect = Literal["gone", "dearer", "cheaper", "new", "changed"]
_KINDS = {"aspect_ratios": "aspects", "custom_rules": "rules"}
_UNIMPORTANT = frozenset({"description", "thumbnail", "features", "release_date", "model_key", "x402"})
_BY_DURATION = "credits_by_duration"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `kind` is added, removed, price, durations, aspects, rules or the field's name.

    A price of a video is told by its duration, `credits_by_duration.5` for 5 seconds; a duration that is new or gone
    has no price before or after. `before` of a removed model and `after` of an added one are its `models` document.
    """

    model: str
    kind: str
    field: str | None = None
    before: Any = None
    after: Any = None

    @property
    def effect(self) -> Effect:
        """What it means for someone who used the model before."""
        if self.kind == "removed":
            return "gone"
        if self.kind == "added":
            return "new"
        if self.kind != "price" or self.before is None or self.after is None:
            return "changed"
        return "dearer" if Decimal(self.after) > Decimal(self.before) else "cheaper"

    @property
    def percent(self) -> Decimal | None:
        """By how much a price rose, or fell where it is negative, to 0.1; None for anything but a price."""
        if self.effect not in ("dearer", "cheaper") or not Decimal(self.before):
            return None
        return ((Decimal(self.after) / Decimal(self.before) - 1) * 100).quantize(Decimal("0.1"))


def changes(old: Catalog, new: Catalog) -> list[Change]:
    """By model name: what a user of `old` has to know about `new`."""
    found: list[Change] = []
    for name in sorted(old.models.keys() | new.models.keys()):
        before, after = old.get(name), new.get(name)
        if before is not None and after is not None:
            found.extend(_differences(name, before, after))
        elif after is not None:
            found.append(Change(name, "added", after=after.document()))
        elif before is not None:
            found.append(Change(name, "removed", before=before.document()))
    return found


def _differences(name: str, old: AnyModel, new: AnyModel) -> Iterator[Change]:
    before, after = old.document(), new.document()
    for field in {**before, **after}:
        if field in _UNIMPORTANT or field.startswith("usd") or before.get(field) == after.get(field):
            continue
        if field == _BY_DURATION and field in before and field in after:
            yield from _by_duration(name, before[field], after[field])
        else:
            yield Change(name, _kind(field), field, before.get(field), after.get(field))


def _by_duration(name: str, before: dict[str, str], after: dict[str, str]) -> Iterator[Change]:
    for seconds in sorted(before.keys() | after.keys(), key=int):
        old, new = before.get(seconds), after.get(seconds)
        if old != new:
            kind = "durations" if old is None or new is None else "price"
            yield Change(name, kind, f"{_BY_DURATION}.{seconds}", old, new)


def _kind(field: str) -> str:
    return "price" if field.startswith("credits") else _KINDS.get(field, field)
