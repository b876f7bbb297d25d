"""`attest`: the privacy proof of a private text model."""

import json
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from orchestrator.cli import completing
from orchestrator.cli.console import print_json, safe, show
from orchestrator.cli.params import AsJson


def attest(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A private text model.", show_default=False, autocompletion=completing.private_models
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show the proof of a private text model's protected hardware. The provider gives it for a nonce made for it."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations.attesting import attest

    found = attest(model, load_settings())
    if as_json:
        print_json(found.document())
        return
    table = Table(show_header=False, box=SIMPLE_HEAD)
    for name, value in {"model": found.model, "nonce": found.nonce, **found.proof}.items():
        table.add_row(safe(name.replace("_", " ")), safe(value if isinstance(value, str) else json.dumps(value)))
    show(table, safe("as the provider gave it; nothing of it is verified here", "dim"))
