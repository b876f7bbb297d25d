"""The commands, put together."""

from typing import Annotated

import typer

from orchestrator.cli import logs, looking, models, planning, running, serving, upkeep

app = typer.Typer(
    help="Durable batch jobs for imgnAI's Katana API: a manifest of image and video jobs becomes stored files.",
    epilog="Try it without an account: orchestrator submit jobs/quickstart.yaml --sandbox",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
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
    logs.set_up(verbose=verbose)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


app.command()(planning.plan)
app.command()(running.submit)
app.command()(running.resume)
app.command()(looking.status)
app.command()(looking.jobs)
app.command()(looking.watch)
app.command()(looking.wait)
app.command()(models.models)
app.command()(upkeep.balance)
app.command()(upkeep.doctor)
app.command()(serving.sandbox)
app.command()(serving.worker)
app.add_typer(upkeep.db, name="db")
