"""The commands, put together."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from orchestrator.cli.adopting import adopt
from orchestrator.cli.attesting import attest
from orchestrator.cli.authoring import convert, init, schema
from orchestrator.cli.budget import budget
from orchestrator.cli.examples import add_examples
from orchestrator.cli.exporting import export
from orchestrator.cli.going_on import approve, retry
from orchestrator.cli.ledger import ledger
from orchestrator.cli.logs import set_up_logging
from orchestrator.cli.looking import jobs, status, wait, watch
from orchestrator.cli.models import models
from orchestrator.cli.planning import plan
from orchestrator.cli.reporting import report, review
from orchestrator.cli.resolving import resolve
from orchestrator.cli.running import resume, submit
from orchestrator.cli.schedules import schedule
from orchestrator.cli.serving import sandbox, worker
from orchestrator.cli.steering import cancel, pause, reject
from orchestrator.cli.upkeep import balance, db, doctor, prune
from orchestrator.cli.wallet import wallet

app = typer.Typer(
    help="Durable batch jobs for imgnAI's Katana API: a manifest of image, video and text jobs becomes stored files.",
    epilog="\b\nTry it without an account: orchestrator submit jobs/quickstart.yaml --sandbox",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # it would take [what is in brackets] for markup, and a quarter longer to start
)


def _version(wanted: bool) -> None:
    if wanted:
        from orchestrator import __version__

        typer.echo(f"orchestrator {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_up_logging(verbose=verbose)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


for _command in (
    plan, submit, resume, pause, cancel, retry, approve, reject, resolve, adopt,
    export, report, status, jobs, watch, wait, models, balance, doctor, prune, sandbox, worker,
    init, schema, attest,
):  # fmt: skip
    app.command()(_command)
app.add_typer(review, name="review")
app.add_typer(budget, name="budget")
app.add_typer(wallet, name="wallet")
app.add_typer(ledger, name="ledger")
app.add_typer(schedule, name="schedule")
app.add_typer(db, name="db")
app.add_typer(convert, name="convert")


def root_command() -> TyperGroup:
    """The whole command line, each command's help with its examples."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    add_examples(group)
    return group
