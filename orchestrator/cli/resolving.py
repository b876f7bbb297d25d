"""`resolve`: a person says what became of a payment in doubt."""

from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from rich.text import Text

from orchestrator.base.errors import UsageError
from orchestrator.cli import completing
from orchestrator.cli.batch_view import summary
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Batch, request_id
from orchestrator.cli.running import fruitless_jobs
from orchestrator.cli.words import counted, money_text, payment_text


def resolve(
    batch: Batch,
    job: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="The job in doubt.",
            show_default=False,
            autocompletion=completing.jobs(completing.IN_DOUBT),
        ),
    ],
    charged: Annotated[
        Literal["charged", "not-charged"] | None,
        typer.Option("--as", metavar="charged|not-charged", help="What became of its payment.", show_default=False),
    ] = None,
    found: Annotated[
        UUID | None,
        typer.Option(
            "--request-id",
            parser=request_id,
            metavar="UUID",
            help="Its request, found in the provider's web history.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Settle a job whose payment is in doubt. So are all that were sent with it.

    The evidence is told first, and kept. Nothing is sent by it.
    """
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import resolving

    said = charged or found
    if said is None or (charged and found):
        raise UsageError(
            "say either --as charged, --as not-charged or --request-id UUID",
            hint="the provider's web history shows what it received",
        )
    settings = load_settings()
    document = resolving.resolve(batch, job, settings, said, show_evidence=lambda known: tell(*evidence_lines(known)))
    if as_json:
        print_json(document)
        return
    show(*summary(document, fruitless_jobs(document, settings)))
    if charged != "charged" and document["state"] == "running" and settings.broker_url is None:
        goes_on = "sent again" if charged else "polled"
        tell(safe(f"to have it {goes_on}: orchestrator resume {document['batch']}"))


def evidence_lines(known: dict[str, Any]) -> list[Text]:
    """What is known of a payment in doubt, for people."""
    together = known["jobs"]
    unit = known["unit"]
    sent = f"{', '.join(together)}: sent at {known['sent_at']} for {money_text(known[unit], unit)}"
    lines = [f"{sent}; what came back: {known['answer'] or 'nothing'}"]
    if len(together) > 1:
        lines.append(f"these {len(together)} jobs were one request: what you say holds for all of them")
    if known["counted_as_charged"]:
        lines.append("it counts as charged since it was settled so")
    if known["heard_request_id"]:
        lines.append(f"the answer named a request id, {known['heard_request_id']}: try it with --request-id")
    others = known["others_in_doubt"]
    if others["submissions"]:
        count = counted(others["submissions"], "other submission")
        lines.append(f"{count} of the account in doubt, {money_text(others[unit], unit)}")
        if (known["balance"] or {}).get("finding") in ("wait", "read"):
            lines.append("the balance may tell of all of them together; no more once one is settled by hand")
    lines += [] if known["payment"] is None else [payment_text(known["payment"])]
    return [safe(f"evidence: {line}") for line in [*lines, *_balance_lines(known["balance"], unit)]]


def _balance_lines(balance: dict[str, Any] | None, unit: str) -> list[str]:
    if balance is None or "finding" not in balance:
        return []
    lines = [] if balance["baseline"] is None else [_reading("balance before", balance["baseline"], unit)]
    lines += [
        f"{_reading('balance after', reading, unit)}, {reading['unexplained']} of it unexplained"
        for reading in balance["readings"][-2:]
    ]
    words = {"not-charged": "looks not charged", "charged": "looks charged"}
    return [*lines, f"the balance {words.get(balance['finding'], 'does not tell')}: {balance['reason']}"]


def _reading(what: str, reading: dict[str, Any], unit: str) -> str:
    return f"{what}: {money_text(reading['credits'], unit)} at {reading['at']}"
