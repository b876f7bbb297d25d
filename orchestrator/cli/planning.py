"""`plan`: check and price a manifest."""

import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from orchestrator.base.money import canonical, in_words
from orchestrator.cli.compare_view import comparison_line, comparison_table
from orchestrator.cli.console import print_json, printable, safe, show, tell
from orchestrator.cli.failures import tell_diagnostics
from orchestrator.cli.params import AsJson, Canary, MaxCredits
from orchestrator.cli.words import counted, credits_text, percent

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings
    from orchestrator.planner.compare import Comparison
    from orchestrator.planner.result import Plan
    from orchestrator.planner.ways import Way

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The manifest (YAML, JSON, JSONL or CSV) or a saved plan.", show_default=False),
]


def plan(
    file: File,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PLAN", help="Save the plan here, for submit to run exactly as it is."),
    ] = None,
    max_credits: MaxCredits = None,
    canary: Canary = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show what is new, changed, reused and removed; price only what is new.")
    ] = False,
    expand: Annotated[
        bool, typer.Option("--expand", help="Show the concrete jobs that templates, rows and defaults make.")
    ] = False,
    job: Annotated[
        str | None, typer.Option("--job", metavar="ID", help="Show the request body of one job, its media cut short.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check every job of a manifest, or a saved plan, and price it. Spends nothing and needs no network."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import planning

    settings = load_settings()
    planned = planning.plan(file, settings, max_credits=max_credits, canary=canary)
    if sum((compare, expand, job is not None)) > 1:
        raise typer.BadParameter("--compare, --expand and --job go one at a time")
    if compare:
        return _compare(planned, settings, output, as_json=as_json)
    planning.require_valid(planned)
    if output is not None:
        planning.save_plan(planned, output)
    jobs = planning.expanded(planned) if expand else None
    request = planning.request_of(planned, job) if job is not None else None
    if as_json:
        more = {"expanded": jobs, "request": request}
        print_json(planned.document() | {name: value for name, value in more.items() if value is not None})
        return 0
    tell_diagnostics(planned.document())
    if request is not None:
        show(_lines(json.dumps(request, indent=2, ensure_ascii=False).splitlines()))
        return 0
    if jobs is not None:
        show(_lines(_as_manifest(jobs)))
    (tell if expand else show)(*cost_table(planned), *cost_notes(planned))
    _tell_saved(output)
    return 0


def _tell_saved(output: Path | None) -> None:
    if output is not None:
        tell(safe(f"saved; to run exactly this: orchestrator submit {shlex.quote(str(output))}"))


def _lines(lines: Iterable[str]) -> Text:
    return Text("\n".join(printable(line) for line in lines))


def _as_manifest(jobs: list[dict[str, Any]]) -> Iterator[str]:
    """YAML that the eye finds its way in: a line for each field, what is in it as JSON."""
    yield "jobs:"
    for job in jobs:
        for number, (name, value) in enumerate(job.items()):
            yield f"{'    ' if number else '  - '}{name}: {json.dumps(value, ensure_ascii=False)}"


def _compare(planned: "Plan", settings: "Settings", output: Path | None, *, as_json: bool) -> int:
    from orchestrator.operations import comparing, planning

    comparison = comparing.compare_with_collection(planned, settings)
    if output is not None:
        planning.save_plan(planned, output)
    if as_json:
        print_json(comparison.document())
        return 0
    bought = comparison.bought()
    tell_diagnostics(bought.document())
    show(*comparison_table(comparison), *cost_table(bought), *cost_notes(bought), *comparison_line(comparison))
    _tell_saved(output)
    return 0


def cost_table(planned: "Plan") -> list[Table]:
    """What the jobs cost, the dearest model first; nothing where there are none."""
    document = planned.document()
    if not document["by_model"]:
        return []
    table = Table("model", "type", show_footer=True, box=SIMPLE_HEAD)
    table.columns[0].footer = "total"
    table.add_column("jobs", footer=str(document["jobs"]), justify="right")
    table.add_column("credits", footer=document["estimate"]["credits"], justify="right")
    table.add_column("USD", footer=f"~${document['estimate']['usd']}", justify="right")
    for row in document["by_model"]:
        table.add_row(safe(row["model"]), row["type"], str(row["jobs"]), row["credits"], f"~${row['usd']}")
    return [table]


def cost_notes(planned: "Plan") -> list[Text]:
    """The total, the budget, and which prices these are."""
    document = planned.document()
    total = price_text(document)
    budget = f", budget {in_words(planned.budget, planned.payment.unit)}" if planned.budget is not None else ""
    catalog = document["catalog"]
    left_out = f", {document['rejected']} left out" if document["rejected"] else ""
    return [
        Text.assemble((f"{planned.name}: {counted(document['jobs'], 'job')}{left_out}, {total}{budget}", "bold")),
        *_ways_to_pay(planned),
        *_careful_start(planned),
        safe(f"prices: {catalog['source']} catalogue of {catalog['fetched_at'][:10]}", "dim"),
    ]


def price_text(document: dict[str, Any]) -> str:
    """What a plan (document) costs at most: `14 credits (~$0.0728)`, or USDC with what of it settles payments."""
    usdc = document["usdc"]
    if usdc is None:
        return credits_text(document["estimate"]["credits"], document["estimate"]["usd"])
    settlement = f", {usdc['settlement']} of it for settling payments" if usdc["settlement"] != "0" else ""
    return f"{usdc['total']} USDC ({document['payment']}{settlement})"


def _ways_to_pay(planned: "Plan") -> list[Text]:
    """One line: credits, the cheaper network for a payment each request, and for one top-up; the cheapest first."""
    best: dict[str, Way] = {}
    for way in planned.ways():
        best.setdefault(way.payment.partition("-")[0], way)
    told = [f"{way.payment} ~${canonical(way.usd)}{_settled(way, planned.bundle)}" for way in best.values()]
    return [safe(f"cheapest way to pay: {' · '.join(told)}", "dim")] if told else []


def _settled(way: "Way", bundle: int) -> str:
    if way.payment.is_direct:
        return f" ({counted(way.requests, 'payment')}, bundle {bundle})"
    return " (one top-up)" if way.payment.is_wallet else ""


def _careful_start(planned: "Plan") -> list[Text]:
    notes = []
    if planned.canary is not None:
        first = "first job" if planned.canary == 1 else f"first {planned.canary} jobs"
        notes.append(f"the {first} of each model, the rest after `approve`")
    if planned.stop_when_failed_over is not None:
        notes.append(f"stops when over {percent(planned.stop_when_failed_over)} fail")
    if planned.price_tolerance:
        notes.append(f"prices may rise by {percent(planned.price_tolerance)}")
    return [safe(f"careful start: {' · '.join(notes)}")] if notes else []


def tell_plan(comparison: "Comparison", *, with_table: bool) -> None:
    """Before a batch is stored: its warnings, what it buys and what that costs."""
    bought = comparison.bought()
    tell_diagnostics(bought.document())
    if with_table:
        tell(*cost_table(bought), *cost_notes(bought), *comparison_line(comparison))
