"""The way in and the only way out: every failure becomes a short message and its exit code, never a traceback."""

import os
import signal
import sys
from collections.abc import Sequence

import typer

from orchestrator.base.errors import Interrupted, OrchestratorError, Unusable, UsageError
from orchestrator.base.hangup import hang_up
from orchestrator.cli.app import root_command
from orchestrator.cli.failures import own_fault, report
from orchestrator.cli.streams import prepare_streams

#: What typer makes of a KeyboardInterrupt; no command of ours returns it.
_INTERRUPTED = 130


def main() -> None:
    """The `orchestrator` command."""
    prepare_streams()
    for number, handler in ((signal.SIGTERM, signal.default_int_handler), (signal.SIGHUP, hang_up)):
        if signal.getsignal(number) is signal.SIG_DFL:  # it is to end as by Ctrl-C, and stop its Postgres
            signal.signal(number, handler)
    raise SystemExit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        return _run(list(arguments))
    except OrchestratorError as error:
        try:
            return report(error, as_json="--json" in arguments)
        except OSError:  # a full disk under stdout: there is no way left to say it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return error.exit_code


def _run(arguments: list[str]) -> int:
    """Raises OrchestratorError for every failure, whatever raised it."""
    try:
        code = root_command().main(arguments, prog_name="orchestrator", standalone_mode=False)
    except OrchestratorError:
        raise
    except typer.TyperException as error:
        raise _usage_error(error) from None
    except typer.Abort:
        raise Interrupted("stopped at the question: nothing was sent") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        raise Unusable(f"{where}{error.strerror or error}") from error
    except Exception as error:
        raise own_fault(error) from error
    if code == _INTERRUPTED:
        raise Interrupted("interrupted", hint="what was sent is kept; go on with: orchestrator resume")
    return int(code or 0)


def _usage_error(error: typer.TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"see: {context.command_path} --help" if context is not None else None
    return UsageError(error.format_message().replace(": Value error, ", ": "), hint=hint)
