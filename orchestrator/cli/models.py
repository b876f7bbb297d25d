"""`models`: the catalogue."""

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from orchestrator.base.errors import UsageError
from orchestrator.base.money import canonical
from orchestrator.cli import completing
from orchestrator.cli.changes_view import change_document, changes_summary, changes_table
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, credit_amount
from orchestrator.cli.words import counted, value_text

if TYPE_CHECKING:
    from orchestrator.catalog.changes import Change
    from orchestrator.catalog.models import AnyModel, Catalog


class ModelType(StrEnum):
    """The kinds of models."""

    IMAGE = "image"
    VIDEO = "video"
    TEXT = "text"


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Only this model, in full.", show_default=False, autocompletion=completing.models
        ),
    ] = None,
    type_: Annotated[ModelType | None, typer.Option("--type", metavar="TYPE", help="image, video or text.")] = None,
    feature: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Only models with such a feature: `last frame`, `audio`, `vision` ..."),
    ] = None,
    max_credits: Annotated[
        Decimal | None,
        typer.Option(parser=credit_amount, metavar="N", help="Only models whose lowest price is at most this."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Read the provider's list first, and say what changed.")
    ] = False,
    changes: Annotated[
        bool, typer.Option("--changes", help="Show how the catalogue differs from the bundled one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models, their prices and what they can do."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import catalogue

    settings = load_settings()
    if changes and (name or type_ or feature or max_credits):
        raise UsageError("--changes shows all models; it takes no filter")
    if refresh:
        refreshed = catalogue.refresh(settings)
        _tell_refreshed(refreshed.catalog, refreshed.changes)
    if changes:
        _show_changes(catalogue.catalogue(settings), catalogue.changes_since_release(settings), as_json=as_json)
        return
    wanted = catalogue.Filter(name, type_.value if type_ else None, feature, max_credits)
    catalog = catalogue.catalogue(settings)
    found = catalogue.select(catalog, wanted)
    if as_json:
        print_json([model.document() for model in found])
    elif name is not None:
        show(_details(found[0].document()))
    elif not found:
        tell("there are no such models")
    elif not refresh or wanted != catalogue.Filter():
        show(_table(found), safe(f"{counted(len(found), 'model')}; {_origin(catalog)}", "dim"))


def _origin(catalog: "Catalog") -> str:
    return f"{catalog.source} catalogue of {catalog.fetched_at[:10]}"


def _tell_refreshed(catalog: "Catalog", changes: "list[Change]") -> None:
    read = f"{counted(len(catalog.models), 'model')} read from {catalog.source}"
    tell(safe(f"{read}, {changes_summary(changes)}"), *([changes_table(changes)] if changes else []))
    tell(*_notes(catalog))


def _show_changes(catalog: "Catalog", changes: "list[Change]", *, as_json: bool) -> None:
    """How the catalogue in use differs from the bundled one."""
    if as_json:
        print_json([change_document(change) for change in changes])
        return
    if not changes:
        tell(safe(f"nothing differs from the bundled catalogue in the {_origin(catalog)}"), *_notes(catalog))
        return
    tell(safe(f"{_origin(catalog)}, {changes_summary(changes)} since the bundled one"), *_notes(catalog))
    show(changes_table(changes))


def _notes(catalog: "Catalog") -> list[Text]:
    return [safe(f"  not taken over: {note}", "yellow") for note in catalog.notes]


def _table(models: "list[AnyModel]") -> Table:
    from orchestrator.operations.catalogue import lowest_price

    table = Table("model", "type", "creator", box=SIMPLE_HEAD)
    table.add_column("credits from", justify="right")
    table.add_column("aspect ratios or context")
    table.add_column("takes")
    for model in models:
        document = model.document()
        shape = (
            value_text(document["aspect_ratios"]) if model.type != "text" else f"{document['context_length']} tokens"
        )
        table.add_row(
            safe(model.name),
            model.type,
            safe(model.creator or "not listed"),
            canonical(lowest_price(model)),
            safe(shape),
            safe(_takes(document)),
        )
    return table


def _takes(document: dict[str, Any]) -> str:
    """What a model takes besides a prompt."""
    if document["type"] == "text":
        return value_text(document["input_types"])
    references, audio = document["max_reference_images"], document.get("max_audio_files", 0)
    frames = [slot for slot in ("first_frame", "mid_frame", "last_frame") if document.get(slot)]
    parts = [slot.replace("_", " ") for slot in frames]
    parts += [counted(references, "reference image")] if references else []
    parts += [counted(audio, "audio file")] if audio else []
    return ", ".join(parts) + (" (image required)" if document["requires_image"] else "")


def _details(document: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=SIMPLE_HEAD)
    for key, value in document.items():
        if value not in (None, "", [], {}):
            table.add_row(key.replace("_", " "), safe(value_text(value)))
    return table
