"""`init`, `schema` and `convert`: help with writing manifests."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.console import print_json, print_raw, safe, tell
from orchestrator.cli.params import AsJson
from orchestrator.cli.words import counted

convert = typer.Typer(help="Manifests from what was written for another provider.")


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; none is overwritten.")] = Path(
        "batch.yaml"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a commented manifest to start from."""
    from orchestrator.operations import authoring

    authoring.init(file)
    if as_json:
        print_json({"file": str(file)})
        return
    written = shlex.quote(str(file))
    tell(safe(f"{file} is written; try it for nothing: orchestrator submit {written} --sandbox"))


def schema(as_json: AsJson = True) -> None:
    """Print the JSON Schema of manifests. Editors complete and check them with it; --json changes nothing."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import authoring

    print_json(authoring.schema(load_settings()))


@convert.callback()
def _convert() -> None:
    """Make a manifest of what was written for another provider."""


@convert.command("venice")
def venice(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Request bodies, one a line.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Print a manifest of Venice-style request bodies. What has no counterpart is listed."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import authoring

    document = authoring.convert_venice(file, load_settings())
    if as_json:
        print_json(document)
        return
    print_raw(document["manifest"])
    tell(*(safe(f"{file}:{note['line']}: {note['field']}: {note['message']}") for note in document["notes"]))
    tell(safe(f"{counted(document['jobs'], 'job')}; save them in a file and look: orchestrator plan FILE"))
