"""`report` and `review`: a page on which people look at results, and carrying out what they decided there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.base.money import canonical
from orchestrator.cli.asking import may_spend
from orchestrator.cli.batch_view import summary
from orchestrator.cli.console import err, print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Batch, Yes, duration_seconds
from orchestrator.cli.progress import Progress, is_live
from orchestrator.cli.running import fruitless_jobs
from orchestrator.cli.words import counted, money_text, place

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings
    from orchestrator.operations.reporting import TellLooked
    from orchestrator.operations.review_quoting import ReviewQuote

review = typer.Typer(help="Carry out what was decided on a report's page.")


def report(
    batch: Batch,
    html: Annotated[
        str,
        typer.Option("--html", metavar="FILE", help="Where the page goes: a file, or s3://bucket/key.html."),
    ],
    links_for: Annotated[
        float | None,
        typer.Option(
            parser=duration_seconds,
            metavar="7d",
            help="How long the links to private objects on S3 live; seven days at most, and by default.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page with all results, to look at them and decide."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import reporting

    settings = load_settings()
    with _bar(is_shown=is_live() and not as_json) as bar:
        document = reporting.report(batch, settings, html, link_seconds=links_for, progress=bar)
    if as_json:
        print_json(document)
        return
    jobs, files = counted(document["jobs"], "job"), counted(document["files"], "file")
    show(safe(f"{document['batch']}: {jobs}, {files} on {place(document['page'])}"))
    if document["link"] != document["page"]:
        show(safe(document["link"]))
    if document["links_end_at"] is not None:
        tell(safe(f"its links are signed, and end at {document['links_end_at']}; whoever has the page can use them"))
    if document["tied"]:
        tied = f"{counted(document['tied'], 'file')} that lie elsewhere are linked to by their place on this machine"
        tell(safe(f"{tied}: to send the page with them, write it into the destination or above it"))
    if document["missing"]:
        tell(safe(f"{counted(document['missing'], 'file')} could not be read; the page says which"))


@contextmanager
def _bar(*, is_shown: bool) -> Iterator["TellLooked"]:
    """A bar on stderr while the small pictures are made."""
    if not is_shown:
        yield lambda looked, jobs: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("looking at jobs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda looked, jobs: bar.update(task, completed=looked, total=jobs)


@review.command("apply")
def apply(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The decisions.json that a page exported.", show_default=False)
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Carry out what was decided on a report's page, once. It is priced first; applying it again changes nothing."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import reviewing

    settings = load_settings()

    def confirm(quote: "ReviewQuote") -> bool:
        price = money_text(canonical(quote.amount), quote.unit, canonical(quote.usd))
        what = f"carrying out these decisions spends up to {price}"
        if not (as_json and yes):
            tell(*(safe(note) for note in quote.notes))
        if yes and not as_json:
            tell(safe(what))
        return may_spend(what, yes=yes)

    with Progress(quiet=as_json) as progress:
        document = reviewing.apply_review(file, settings, confirm=confirm, progress=progress)
    if as_json:
        print_json(document)
    else:
        _show(document, settings)
    return reviewing.exit_code(document)


def _show(document: dict[str, Any], settings: "Settings") -> None:
    counts = document["decisions"]
    words = [f"{counts['accepted']} accepted", f"{counts['rejected']} rejected", f"{counts['takes']} to be taken anew"]
    show(safe(f"{document['batch']}: {', '.join(words)}; {counts['unchanged']} of them were carried out before"))
    batches = [*([document["reviewed"]] if document["worked"] else []), *document["take_batches"]]
    for batch in batches:
        show("", *summary(batch, fruitless_jobs(batch, settings)))
    for batch in document["take_batches"]:
        tell(safe(f"to look at the new takes: orchestrator report {batch['batch']} --html takes.html"))
