"""`schedule`: nightly runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli import completing
from orchestrator.cli.asking import may_spend
from orchestrator.cli.batch_view import state_text
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Yes
from orchestrator.cli.planning import tell_plan
from orchestrator.cli.progress import Progress
from orchestrator.cli.running import conclude
from orchestrator.cli.words import ago, credits_text

if TYPE_CHECKING:
    from orchestrator.planner.compare import Comparison
    from orchestrator.planner.result import Plan

schedule = typer.Typer(help="Manifests that are submitted by themselves, such as every night.")

_MANIFEST_HELP = "A manifest with a `schedule` and a `budget`: a path or an s3:// URI."
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The name of its collection.", show_default=False, autocompletion=completing.schedules
    ),
]


@schedule.callback()
def _schedule() -> None:
    """Manifests that are submitted by themselves, such as every night; by any worker: `orchestrator worker`."""


@schedule.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_MANIFEST_HELP, show_default=False)],
    cron: Annotated[
        str | None,
        typer.Option(metavar="CRON", help='Instead of the manifest\'s own: "0 2 * * *".', show_default=False),
    ] = None,
    tz: Annotated[
        str | None, typer.Option(metavar="ZONE", help="The time zone of it: Europe/Berlin. [default: UTC]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a manifest at each slot from now on. Checks and prices it; buys nothing now."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    times = scheduling.Times(cron, tz)
    document = scheduling.add_schedule(file, load_settings(), times, announce=_announce)
    _show_all([document], document, as_json=as_json)


@schedule.command()
def apply(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help=_MANIFEST_HELP, show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Have a schedule for each of these manifests, as it says now. The others stay as they are."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    documents = scheduling.apply_schedules(files, load_settings(), announce=_announce)
    if not as_json:
        tell(*(safe(f"{document['name']}: {document['change']}") for document in documents))
    _show_all(documents, documents, as_json=as_json)


@schedule.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the schedules, their next slots and last runs."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    documents = scheduling.list_schedules(load_settings())
    if not documents and not as_json:
        tell("there are no schedules; make one: orchestrator schedule add FILE")
        return
    _show_all(documents, documents, as_json=as_json)


@schedule.command()
def pause(name: Name, as_json: AsJson = False) -> None:
    """Begin no slot until `schedule resume`. Batches that were submitted go on."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    document = scheduling.pause_schedule(name, load_settings())
    _show_all([document], document, as_json=as_json)


@schedule.command()
def resume(name: Name, as_json: AsJson = False) -> None:
    """Run a paused schedule again, from its next slot on."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    document = scheduling.resume_schedule(name, load_settings())
    _show_all([document], document, as_json=as_json)


@schedule.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Forget a schedule; its batches and their assets stay."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    document = scheduling.remove_schedule(name, load_settings())
    if as_json:
        print_json(document)
    else:
        show(safe(f"{name} is scheduled no more; its batches stay"))


@schedule.command("run-now")
def run_now(name: Name, yes: Yes = False, as_json: AsJson = False) -> int:
    """Check, price and run a schedule's manifest now. Its times stay as they are."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import scheduling

    settings = load_settings()

    def confirm(planned: "Plan") -> bool:
        estimate = planned.document()["estimate"]
        return may_spend(f"this spends up to {credits_text(estimate['credits'], estimate['usd'])}", yes=yes)

    def announce(comparison: "Comparison") -> None:
        tell_plan(comparison, with_table=not (as_json and yes))

    with Progress(quiet=as_json) as progress:
        document = scheduling.run_schedule_now(name, settings, confirm=confirm, announce=announce, progress=progress)
    return conclude(document, settings, as_json=as_json)


def _announce(comparison: "Comparison") -> None:
    tell_plan(comparison, with_table=True)


def _show_all(documents: Sequence[dict[str, Any]], document: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        show(*_table(documents))
        tell(*(_overdue(document) for document in documents if document["overdue_seconds"] is not None))


def _table(documents: Sequence[dict[str, Any]]) -> list[RenderableType]:
    table = Table("schedule", "times", box=SIMPLE_HEAD)
    for column in ("next slot (UTC)", "last slot (UTC)", "last run"):
        table.add_column(column, no_wrap=column != "last run")
    for document in documents:
        last = document["last"]
        table.add_row(
            safe(document["name"]),
            safe(f"{document['cron']} {document['tz']}"),
            _slot(document["next_slot"]) if document["state"] == "active" else state_text(document["state"]),
            _slot(last["slot"]) if last else Text(""),
            _last_run(last) if last else Text(""),
        )
    return [table]


def _overdue(document: dict[str, Any]) -> Text:
    since = ago(document["next_slot"])
    return safe(
        f"the slot of {document['name']} has come {since}, and no worker runs it: orchestrator worker", "yellow"
    )


def _slot(at: str) -> Text:
    return Text(at[:16].replace("T", " "))


def _last_run(last: dict[str, Any]) -> Text:
    parts = [state_text(last["state"])]
    if last["batch"] is not None:
        parts += [safe(last["batch"]), state_text(last["batch_state"])]
    if last["message"] is not None:
        parts.append(safe(last["message"]))
    return Text(", ").join(parts)
