"""Reads the provider's `GET /v1/models` into a catalogue, and keeps the last good one.

The guide names the fields of a model but neither their envelope nor all of their forms, so the reader is
tolerant: what it cannot read stays as the catalogue before had it, with a note. A price is believed only
when it is near the one before.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.base.errors import Unusable
from orchestrator.base.money import canonical
from orchestrator.catalog.models import AnyModel, Catalog, Model
from orchestrator.catalog.wire import Record, records, translate

MAX_PRICE_FACTOR = 20
"""A price that grew by more is taken for a mistake and not taken over."""

_MODEL: TypeAdapter[AnyModel] = TypeAdapter(Model)


def read_models(payload: object, base: Catalog, *, fetched_at: str, source: str = "provider") -> Catalog:
    """The catalogue in an answer of `GET /v1/models`; `base` supplies what it lacks. `fetched_at` is RFC 3339 UTC.

    Raises Unusable when no model can be found in the answer.
    """
    models: dict[str, AnyModel] = {}
    notes: list[str] = []
    for record in records(payload, base):
        model = _read_model(record, base, notes)
        if model is not None:
            models[model.name] = model
    if not models:
        raise Unusable("the provider's list of models cannot be read", hint="the catalogue in use is kept")
    return Catalog(source=source, fetched_at=fetched_at, models=models, notes=tuple(notes))


def _read_model(record: Record, base: Catalog, notes: list[str]) -> AnyModel | None:
    before = base.get(record.name)
    known: dict[str, Any] = before.document() if before and before.type == record.type else {}
    told, unread = translate(record)
    notes.extend(f"{record.name}: {reason}" for reason in unread)
    told = dict(_believable(record.name, known, told, notes))
    document = {"display_name": record.name, **known, **told, "name": record.name, "type": record.type}
    try:
        model = _MODEL.validate_python(document)
    except ValidationError as error:
        lacking = ", ".join(sorted({str(fault["loc"][-1]) for fault in error.errors()}))
        notes.append(f"{record.name}: {'left as it was' if before else 'left out'}, its {lacking} cannot be read")
        return before
    return model if before and _prices(before) == _prices(model) else _without_dollars(model)


def _prices(model: AnyModel) -> dict[str, Any]:
    return {field: value for field, value in model.document().items() if field.startswith("credits")}


def _without_dollars(model: AnyModel) -> AnyModel:
    """The dollar figures belong to the guide's prices; they say nothing about others."""
    fields = (field for field in type(model).model_fields if field.startswith("usd"))
    return model.model_copy(update={field: {} if field == "usd_by_duration" else None for field in fields})


def _believable(name: str, known: dict[str, Any], told: dict[str, Any], notes: list[str]) -> Iterator[tuple[str, Any]]:
    """What was told, without prices that are absurd."""
    for field, value in told.items():
        if not field.startswith("credits"):
            yield field, value
            continue
        before = known.get(field)
        if _is_believable_price(before, value):
            yield field, value
        else:
            notes.append(f"{name}: {field} {_shown(value)} is not believed, {_shown(before)} is kept")


def _is_believable_price(before: Any, now: Any) -> bool:
    if isinstance(now, dict):
        previous = before if isinstance(before, dict) else {}
        return all(_is_believable_price(previous.get(str(seconds)), amount) for seconds, amount in now.items())
    return now > 0 and (before is None or now <= Decimal(before) * MAX_PRICE_FACTOR)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{seconds} s: {_shown(amount)}" for seconds, amount in value.items())
    return canonical(value) if isinstance(value, Decimal) else str(value)
