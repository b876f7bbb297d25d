"""`pause`, `cancel` and `reject`: stop what is not sent yet. They spend nothing, ask nothing and exit 0."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import completing
from orchestrator.cli.batch_view import summary
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Batch
from orchestrator.cli.running import fruitless_jobs
from orchestrator.cli.words import under_way

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings


def pause(batch: Batch, as_json: AsJson = False) -> None:
    """Send nothing new of a batch until `resume`. What was paid for is still fetched."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import steering

    settings = load_settings()
    _show(steering.pause(batch, settings), settings, as_json=as_json)


def cancel(batch: Batch, as_json: AsJson = False) -> None:
    """Take back for good what is not sent yet. What was paid for is still fetched."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import steering

    settings = load_settings()
    document = steering.cancel(batch, settings)
    _show(document, settings, as_json=as_json)
    if under_way(document) and settings.broker_url is None and not as_json:
        fetch = f"orchestrator resume {document['batch']}"
        tell(safe(f"what was paid for is fetched by the command that works the batch; where none does: {fetch}"))


def reject(
    batch: Batch,
    job: Annotated[
        str,
        typer.Option(metavar="ID", help="The job with the gate.", show_default=False, autocompletion=completing.jobs()),
    ],
    as_json: AsJson = False,
) -> None:
    """Skip what waits for the result of a job that has a gate."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import steering

    settings = load_settings()
    _show(steering.reject(batch, settings, job=job), settings, as_json=as_json)


def _show(document: dict[str, Any], settings: "Settings", *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        show(*summary(document, fruitless_jobs(document, settings)))
