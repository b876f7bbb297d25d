"""`init` and `schema`: help with writing manifests."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.console import print_json, safe, tell
from orchestrator.cli.params import AsJson


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write; none is overwritten.")] = Path(
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
    """Print the JSON Schema of manifests, with which editors complete and check them; with --json or without it."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import authoring

    print_json(authoring.schema(load_settings()))
