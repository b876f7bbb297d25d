"""`retry` and `approve`: they price what may be spent, ask, and go on like `resume`."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.base.money import canonical
from orchestrator.base.states import JobError
from orchestrator.cli import completing
from orchestrator.cli.asking import may_spend
from orchestrator.cli.console import safe, tell
from orchestrator.cli.params import AsJson, Batch, Yes
from orchestrator.cli.progress import Progress
from orchestrator.cli.running import conclude
from orchestrator.cli.words import counted, money_text

if TYPE_CHECKING:
    from orchestrator.operations.quoting import SpendQuote


def retry(
    batch: Batch,
    job: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Only this job.", show_default=False, autocompletion=completing.jobs(completing.FAILED)
        ),
    ] = None,
    error: Annotated[
        JobError | None, typer.Option(metavar="CODE", help="Only jobs with this error.", show_default=False)
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also jobs whose payment was lost: buy them again.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Run failed and rejected jobs again, at the prices of now."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import retrying

    settings = load_settings()

    def confirm(quote: "SpendQuote") -> bool:
        what = f"running {counted(quote.jobs, 'job')} of {quote.batch_id} again {_spends(quote)}{_paid_again(quote)}"
        return _ask(what, quote, yes=yes, quiet=as_json and not quote.charged_jobs)

    with Progress(quiet=as_json) as progress:
        document = retrying.retry(
            batch, settings, job=job, error=error, again=again, confirm=confirm, progress=progress
        )
    return conclude(document, settings, as_json=as_json)


def approve(
    batch: Batch,
    job: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Only this job: one that waits for the canaries, or one with a gate.",
            show_default=False,
            autocompletion=completing.jobs(),
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Let a batch go on that waits for a person's word.

    After its canaries, a gate, a changed price, too many failures, or unusually much new work.
    """
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import approving

    settings = load_settings()

    def confirm(quote: "SpendQuote") -> bool:
        return _ask(f"going on with {quote.batch_id} {_spends(quote)}", quote, yes=yes, quiet=as_json)

    with Progress(quiet=as_json) as progress:
        document = approving.approve(batch, settings, job=job, confirm=confirm, progress=progress)
    return conclude(document, settings, as_json=as_json)


def _spends(quote: "SpendQuote") -> str:
    price = money_text(canonical(quote.credits), quote.unit, canonical(quote.usd))
    parts = f" ({canonical(quote.other_credits)} of it for what was not sent yet)" if quote.other_credits else ""
    return f"spends up to {price}{parts if quote.jobs else ''}"


def _paid_again(quote: "SpendQuote") -> str:
    if not quote.charged_jobs:
        return ""
    charged = money_text(canonical(quote.charged_credits), quote.unit)
    were, are = ("was", "it is") if quote.charged_jobs == 1 else ("were", "they are")
    told = f"{quote.charged_jobs} of them {were} charged {charged} already and gave no file, or not all"
    return f"; {told}: {are} paid for again"


def _ask(what: str, quote: "SpendQuote", *, yes: bool, quiet: bool) -> bool:
    """Tell the price, also where the answer is given beforehand, and ask."""
    if not (yes and quiet):
        tell(*(safe(note) for note in quote.notes))
    if yes and not quiet:
        tell(safe(what))
    return may_spend(what, yes=yes)
