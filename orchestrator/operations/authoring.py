"""Help with writing manifests: a schema for editors, and a starter."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from orchestrator.base.errors import UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.manifest.bare import collection_name
from orchestrator.planner.json_schema import manifest_schema

_NAME = "name: my-collection\n"


def schema(settings: Settings) -> dict[str, Any]:
    """The JSON Schema of a manifest, with the models of the catalogue as it is known here."""
    return manifest_schema(load_catalog(settings.home))


def init(target: Path) -> None:
    """Write a commented manifest, named after its file. Raises UsageError where there is a file, which stays."""
    starter = files("orchestrator.operations").joinpath("starter.yaml").read_text(encoding="utf-8")
    write_new(target, starter.replace(_NAME, f"name: {collection_name(target.name)}\n"))


def write_new(target: Path, text: str) -> None:
    """Raises UsageError where there is something already or nothing can be written."""
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{target} is there already; it is left as it is", hint="choose another name") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{target} cannot be written: {reason}") from None
