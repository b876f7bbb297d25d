"""Help with writing manifests: a schema for editors, a starter, and what was written for another provider."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from orchestrator.base.errors import UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.manifest.bare import collection_name
from orchestrator.manifest.files import MAX_BYTES, SourceFault, Sources
from orchestrator.manifest.json_lines import read_json_lines
from orchestrator.manifest.nodes import plain
from orchestrator.manifest.table_text import decode_table
from orchestrator.manifest.writing import manifest_text
from orchestrator.planner import venice
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


def convert_venice(file: Path, settings: Settings) -> dict[str, Any]:
    """Venice-style request bodies, one a line, as a manifest, with notes on what a person has to look at.

    `{"manifest": text, "jobs": count, "notes": [{"line", "job", "field", "message"}]}`. Raises UsageError where the
    file cannot be read or has nothing to convert.
    """
    catalog = load_catalog(settings.home)
    name = collection_name(file.name)
    jobs, notes = [], []
    for number, body in _bodies(file):
        job_id = f"{name}-{number}"
        conversion = venice.convert(body, catalog)
        if conversion.job is not None:
            jobs.append({"id": job_id, **conversion.job})
        job = None if conversion.job is None else job_id
        notes += [
            {"line": number, "job": job, "field": note.field, "message": note.message} for note in conversion.notes
        ]
    if not jobs:
        raise UsageError(f"{file} has no image or video request bodies", hint="one JSON object a line")
    text = manifest_text({"version": 1, "name": name}, jobs, f"converted from {file.name}")
    return {"manifest": text, "jobs": len(jobs), "notes": notes}


def _bodies(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = decode_table(Sources().read(str(file), MAX_BYTES)).text
    except SourceFault as fault:
        raise UsageError(f"{file} {fault.message}") from None
    for line in read_json_lines(text, str(file)):
        for error in line.findings.errors:
            raise UsageError(f"{file}:{line.number}: {error.message}")
        if line.node is not None:
            yield line.number, plain(line.node, {})
