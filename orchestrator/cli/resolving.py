"""`resolve`: a person says what became of a payment in doubt, or of all of a batch."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer
from rich.text import Text

from orchestrator.base.errors import UsageError
from orchestrator.base.money import canonical
from orchestrator.cli import completing
from orchestrator.cli.asking import may_settle
from orchestrator.cli.batch_view import summary
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Batch, request_id
from orchestrator.cli.running import fruitless_jobs
from orchestrator.cli.words import counted, money_text, payment_text

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings
    from orchestrator.operations.resolving import Outcome

#: How many submissions `--all` tells the evidence of.
_SHOWN = 10


def resolve(
    batch: Batch,
    job: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The job in doubt.",
            show_default=False,
            autocompletion=completing.jobs(completing.IN_DOUBT),
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that is in doubt in the batch, with --as.")] = False,
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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Settle without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Settle a job whose payment is in doubt. So are all that were sent with it.

    The evidence is told first, and kept; on a terminal, --as then asks. Nothing is sent by it.
    """
    from orchestrator.base.settings import load_settings

    _require_one_meaning(batch, job, charged, found, all_=all_)
    settings = load_settings()
    if job is None:
        assert charged is not None
        document = _resolve_all(batch, settings, charged, yes=yes)
    else:
        document = _resolve_one(batch, job, settings, charged or found, yes=yes)
    if as_json:
        print_json(document)
        return
    show(*summary(document, fruitless_jobs(document, settings)))
    if charged != "charged" and document["state"] == "running" and settings.broker_url is None:
        goes_on = "sent again" if charged else "polled"
        tell(safe(f"to have it {goes_on}: orchestrator resume {document['batch']}"))


def _require_one_meaning(batch: str, job: str | None, charged: str | None, found: UUID | None, *, all_: bool) -> None:
    """Raises UsageError unless one job or all are named, and what became of them is said once."""
    if (job is None) != all_:
        raise UsageError(
            "name either one job, --job ID, or --all",
            hint=f"orchestrator jobs {batch} --state in_doubt says which they are",
        )
    if all_ and found is not None:
        raise UsageError("a request is that of one job", hint="--job ID --request-id UUID")
    if (charged is None) == (found is None):
        raise UsageError(
            "say either --as charged, --as not-charged or --request-id UUID",
            hint="the provider's web history shows what it received",
        )


def _resolve_one(batch: str, job: str, settings: "Settings", said: Any, *, yes: bool) -> dict[str, Any]:
    """`said`: charged, not-charged, or its request, which is not asked about: it is looked up itself."""
    from orchestrator.operations import resolving

    return resolving.resolve(
        batch,
        job,
        settings,
        said,
        show_evidence=lambda known: tell(*evidence_lines(known)),
        confirm=lambda: isinstance(said, UUID) or may_settle(f"this settles it as {said}", yes=yes),
    )


def _resolve_all(batch: str, settings: "Settings", said: "Outcome", *, yes: bool) -> dict[str, Any]:
    from orchestrator.operations import resolving

    known: list[dict[str, Any]] = []

    def confirm() -> bool:
        tell(*all_evidence_lines(known))
        return may_settle(f"this settles {_together(known)} as {said}", yes=yes)

    return resolving.resolve_all(batch, settings, said, show_evidence=known.append, confirm=confirm)


def _together(known: list[dict[str, Any]]) -> str:
    unit = known[0]["unit"]
    amount = money_text(canonical(sum((Decimal(each[unit]) for each in known), Decimal(0))), unit)
    return f"{counted(sum(len(each['jobs']) for each in known), 'job')} for {amount}"


def all_evidence_lines(known: list[dict[str, Any]]) -> list[Text]:
    """What is known of several payments in doubt, for people: of each what was sent, and the balance once."""
    lines = [_sent(each) for each in known[:_SHOWN]]
    if len(known) > _SHOWN:
        lines.append(f"and {counted(len(known) - _SHOWN, 'other submission')}")
    return [safe(f"evidence: {line}") for line in [*lines, *_balance_lines(known[0]["balance"], known[0]["unit"])]]


def evidence_lines(known: dict[str, Any]) -> list[Text]:
    """What is known of a payment in doubt, for people."""
    together = known["jobs"]
    unit = known["unit"]
    lines = [_sent(known)]
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


def _sent(known: dict[str, Any]) -> str:
    sent = f"sent at {known['sent_at']} for {money_text(known[known['unit']], known['unit'])}"
    return f"{', '.join(known['jobs'])}: {sent}; what came back: {known['answer'] or 'nothing'}"


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
