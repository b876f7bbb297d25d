"""`adopt`: take a paid request that was made elsewhere under care."""

from decimal import Decimal
from typing import Annotated

import typer

from orchestrator.base.money import canonical
from orchestrator.cli.asking import may_spend
from orchestrator.cli.params import AsJson, Yes
from orchestrator.cli.progress import Progress
from orchestrator.cli.running import conclude
from orchestrator.cli.words import counted, credits_text


def adopt(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The id that the provider gave the request.", show_default=False)
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="The collection that its files go to.")] = "adopted",
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Take a paid request that was made elsewhere under care. Fetches its files and keeps its books; buys nothing."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import adopting

    settings = load_settings()

    def confirm(count: int, price: Decimal) -> bool:
        cost = credits_text(canonical(price), canonical(price * settings.usd_per_credit))
        return may_spend(f"this adopts {counted(count, 'job')} that cost {cost}; nothing more is bought", yes=yes)

    with Progress(quiet=as_json) as progress:
        document = adopting.adopt(request_id, settings, name=name, confirm=confirm, progress=progress)
    return conclude(document, settings, as_json=as_json)
