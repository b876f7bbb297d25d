"""`submit` and `resume`: the commands that spend."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.base.money import canonical
from orchestrator.base.payments import Unit
from orchestrator.cli.asking import may_spend
from orchestrator.cli.batch_view import summary
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Canary, MaxCredits, MaybeBatch, Yes
from orchestrator.cli.planning import File, price_text, tell_plan
from orchestrator.cli.progress import Progress
from orchestrator.cli.words import money_text

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings
    from orchestrator.operations.terms import Terms
    from orchestrator.planner.compare import Comparison
    from orchestrator.planner.result import Plan


def submit(
    file: File,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Run it on a stand-in provider of its own: needs no account, spends nothing."),
    ] = False,
    wait: Annotated[
        bool | None,
        typer.Option("--wait/--detach", help="Follow the batch to its end, or only store it for the workers."),
    ] = None,
    max_credits: MaxCredits = None,
    yes: Yes = False,
    alongside: Annotated[
        bool, typer.Option("--alongside", help="Even while another batch of the collection can still move.")
    ] = False,
    canary: Canary = None,
    again: Annotated[
        bool, typer.Option("--again", help="Buy what the collection has already once more, or only --job.")
    ] = False,
    job: Annotated[
        list[str] | None, typer.Option("--job", metavar="ID", help="With --again: only this job. May be repeated.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="K", help="A name for this call: with the same one again, the same batch."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check, price and run a manifest or a saved plan. Nothing is sent unless every job is valid."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import looking, submitting

    settings = load_settings()
    options = submitting.SubmitOptions(
        sandbox=sandbox,
        detach=wait is False,
        alongside=alongside,
        max_credits=max_credits,
        canary=canary,
        key=key,
        again=again,
        again_jobs=tuple(job or ()),
    )

    def announce(comparison: "Comparison") -> None:
        tell_plan(comparison, with_table=not (as_json and (yes or sandbox)))

    stated: list[Terms] = []

    def confirm(planned: "Plan") -> bool:
        most = stated[-1].at_most_words() if stated else price_text(planned.document())
        return may_spend(f"this spends up to {most}", yes=yes)

    def tell_terms(terms: "Terms") -> None:
        stated.append(terms)
        if not (as_json and yes):
            tell(safe(terms.words()))

    with Progress(quiet=as_json) as progress:
        document = submitting.submit(
            file, settings, options, confirm=confirm, announce=announce, tell_terms=tell_terms, progress=progress
        )
        if wait and document["state"] == "running":
            document = looking.wait(document["batch"], settings, progress=progress)
    if document["state"] == "running" and not as_json:
        document = looking.status(document["batch"], settings)  # tells whether anybody works on it
    return conclude(document, settings, as_json=as_json)


def resume(
    batch: MaybeBatch = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Take up what is unfinished, held or paused."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import resuming

    settings = load_settings()

    def confirm(batch_ids: list[str], unsent: Mapping[Unit, Decimal]) -> bool:
        usd = {Unit.CREDITS: settings.usd_per_credit, Unit.USDC: Decimal(1)}
        price = " and ".join(
            money_text(canonical(amount), unit, canonical(amount * usd[unit])) for unit, amount in unsent.items()
        )
        return may_spend(f"going on with {', '.join(batch_ids)} spends up to {price} more", yes=yes)

    with Progress(quiet=as_json) as progress:
        documents = resuming.resume(batch, settings, confirm=confirm, progress=progress)
    if batch is not None:
        return conclude(documents[0], settings, as_json=as_json)
    return _conclude_all(documents, settings, as_json=as_json)


def conclude(document: dict[str, Any], settings: "Settings", *, as_json: bool) -> int:
    """Show how a batch is now and return the exit code that its state means."""
    from orchestrator.operations import running

    if as_json:
        print_json(document)
    else:
        show(*summary(document, fruitless_jobs(document, settings)))
    return running.exit_code(document)


def _conclude_all(documents: Sequence[dict[str, Any]], settings: "Settings", *, as_json: bool) -> int:
    from orchestrator.operations import running

    if as_json:
        print_json(documents)
    elif not documents:
        tell("nothing to resume: every batch has ended")
    else:
        for document in documents:
            show(*summary(document, fruitless_jobs(document, settings)), "")
    return max((running.exit_code(document) for document in documents), default=0)


def fruitless_jobs(document: dict[str, Any], settings: "Settings") -> list[dict[str, Any]]:
    """A batch's failed, rejected and skipped jobs, for `summary`; asks the store only where there are any."""
    from orchestrator.operations import looking

    states = [state for state in ("failed", "rejected", "skipped") if document["jobs"][state]]
    found = looking.jobs_with_errors(document["batch"], settings) if states else []
    return [job for state in states for job in found if job["state"] == state]
