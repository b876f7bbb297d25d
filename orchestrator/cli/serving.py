"""`sandbox` and `worker`: the commands that run until they are stopped."""

import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.base.errors import Unusable, UsageError
from orchestrator.cli.console import tell
from orchestrator.cli.params import balance_amount

_STEPS = ("submit", "poll", "copy")
#: Ended batches are found and indexed by every worker, whatever else it does.
_ALWAYS = "settle"
_OPENING_BALANCE = Decimal(100_000)


def sandbox(
    port: Annotated[
        int, typer.Option(metavar="P", min=0, max=65535, help="0: the one of last time, or any free one.")
    ] = 0,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it keeps its books. [default: in ORCHESTRATOR_HOME]")
    ] = None,
    time_scale: Annotated[
        float, typer.Option(metavar="X", min=0, help="How long things take: 1 as at the provider, 0 at once.")
    ] = 1.0,
    balance: Annotated[
        Decimal | None,
        typer.Option(parser=balance_amount, metavar="N", help="Credits of each new account. [default: 100000]"),
    ] = None,
) -> None:
    """Run the stand-in provider, until stopped. Point KATANA_BASE_URL at it."""
    from orchestrator.base.settings import load_settings
    from orchestrator.sandbox import Sandbox, SandboxBusy, serve_forever

    folder = state if state is not None else load_settings().home / "sandbox" / "server"
    opening_balance = balance if balance is not None else _OPENING_BALANCE
    try:
        serve_forever(Sandbox(folder, port=port, time_scale=time_scale, balance=opening_balance))
    except SandboxBusy as error:
        raise Unusable(str(error), hint="give this one a folder of its own: --state DIR") from None


def worker(
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="Only some of submit,poll,copy. Needs a broker, and without submit no keys.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tasks at once. Needs a broker.", show_default=False)
    ] = None,
) -> None:
    """Work the batches of the account, and run its schedules. Until stopped: with Celery where a broker is set, else in
    this process.
    """
    from orchestrator.base.settings import load_settings

    settings = load_settings()
    if settings.broker_url is not None:
        command = celery_command(steps, concurrency, with_banner=settings.log_format == "text")
        os.execvp(command[0], command)  # noqa: S606 - no shell is meant; Celery takes this process over
    if steps is not None or concurrency is not None:
        raise UsageError(
            "--steps and --concurrency divide work among Celery workers, and no broker is set",
            hint="set ORCHESTRATOR_BROKER_URL",
        )
    from orchestrator.operations import resuming

    if settings.log_format == "text":  # among lines of JSON it would be none
        tell("no broker is set: working all batches of the account in this process, until Ctrl-C")
    resuming.work(settings)


def celery_command(steps: str | None, concurrency: int | None, *, with_banner: bool = True) -> list[str]:
    """The command line of a Celery worker. Raises UsageError for a step that does not exist."""
    command = [sys.executable, "-m", "celery", "-A", "workers", *([] if with_banner else ["--quiet"])]
    command += ["worker", "--loglevel", "INFO"]
    command += ["--without-mingle", "--without-gossip"]  # workers meet in Postgres; gossip only stumbles over outages
    command += ["--hostname", f"worker-{os.getpid()}@%h"]  # several on one machine are told apart
    if steps is not None:
        wanted = [step.strip() for step in steps.split(",")]
        for step in wanted:
            if step not in _STEPS:
                raise UsageError(f"there is no step {step!r}", hint=f"the steps are {', '.join(_STEPS)}")
        command += ["--queues", ",".join((*wanted, _ALWAYS))]
    if concurrency is not None:
        command += ["--concurrency", str(concurrency)]
    return command
