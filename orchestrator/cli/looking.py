"""`status`, `jobs`, `watch` and `wait`: what the store knows. They spend nothing and exit 0 whatever it is; only
`wait` exits with the state of the batch.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from orchestrator.base.errors import Interrupted, UsageError
from orchestrator.base.states import JobError, JobState
from orchestrator.cli.batch_view import batch_table, failed_count, headline, summary
from orchestrator.cli.console import print_json, print_raw, safe, show, tell
from orchestrator.cli.jobs_view import by_error, error_table, errors_csv, job_tables, jobs_csv
from orchestrator.cli.params import AsJson, Batch, MaybeBatch, duration_seconds, share
from orchestrator.cli.progress import Progress
from orchestrator.cli.running import conclude, fruitless_jobs
from orchestrator.cli.why_view import why_lines


class Grouping(StrEnum):
    """What `jobs --by` can group by."""

    ERROR = "error"


def status(
    batch: MaybeBatch = None,
    why: Annotated[
        bool, typer.Option("--why", help="Say what the oldest job in each state waits for, and who moves it next.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one batch, or the recent ones, what needs a person first."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import looking

    settings = load_settings()
    if batch is None and why:
        raise UsageError("--why is about one batch", hint="orchestrator status BATCH --why")
    if batch is not None:
        document = looking.why(batch, settings) if why else looking.status(batch, settings)
        if as_json:
            print_json(document)
        elif why:
            show(headline(document), *why_lines(document))
        else:
            show(*summary(document, fruitless_jobs(document, settings)))
        return
    documents = looking.recent(settings)
    if as_json:
        print_json(documents)
    elif documents:
        show(*batch_table(documents))
        if len(documents) == looking.RECENT:
            tell("what needs a person and the newest are shown; any other by its id: orchestrator status BATCH")
    else:
        tell("there is no batch yet; make one: orchestrator submit jobs/quickstart.yaml --sandbox")


def jobs(
    batch: Batch,
    state: Annotated[JobState | None, typer.Option(metavar="STATE", help="Only jobs in this state.")] = None,
    error: Annotated[JobError | None, typer.Option(metavar="CODE", help="Only jobs with this error.")] = None,
    by: Annotated[Grouping | None, typer.Option(metavar="error", help="Group: how many jobs have which error.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a batch."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import looking

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    look = looking.jobs_with_errors if by else looking.jobs
    found = look(batch, load_settings(), state=state, error=error)
    rows, to_csv = (by_error(found), errors_csv) if by else (found, jobs_csv)
    if as_json:
        print_json(rows)
    elif as_csv:
        print_raw(to_csv(rows))
    elif rows:
        for table in [error_table(rows)] if by else job_tables(rows):
            show(table)
    else:
        tell("there are no such jobs")


def watch(batch: Batch, as_json: AsJson = False) -> None:
    """Follow a batch until it does not run any more. Ctrl-C stops watching, not the batch.

    One that is paused is followed until what was paid for is there.
    """
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import looking

    settings = load_settings()
    try:
        with Progress(quiet=as_json) as progress:
            document = looking.wait(batch, settings, progress=progress)
    except KeyboardInterrupt:
        raise Interrupted("stopped watching; the batch is not touched", hint=f"orchestrator watch {batch}") from None
    conclude(document, settings, as_json=as_json)
    if document["state"] == "paused":
        tell(safe(f"there is nothing to watch: it is paused until orchestrator resume {document['batch']}"))


def wait(
    batch: Batch,
    timeout: Annotated[
        float | None, typer.Option(parser=duration_seconds, metavar="6h", help="Give up after 90s, 10m, 6h ...")
    ] = None,
    tolerate: Annotated[
        Decimal | None,
        typer.Option(parser=share, metavar="1%", help="Exit 0 with up to this share of the jobs failed."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Wait for a batch in a script, and exit with its state."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import looking

    settings = load_settings()
    document = looking.wait(batch, settings, timeout_seconds=timeout)
    code = conclude(document, settings, as_json=as_json)
    if document["state"] == "running":
        tell(f"{document['batch']} still runs; the time to wait is over")
        return 1
    return 0 if tolerate is not None and is_tolerable(document, tolerate) else code


def is_tolerable(document: dict[str, Any], tolerated: Decimal) -> bool:
    """Whether a batch ended with failures, but no more than this share (0 to 1) of its jobs."""
    ended_with_failures = document["state"] in ("partial_failure", "failed")
    return ended_with_failures and failed_count(document) <= tolerated * document["jobs"]["total"]
