"""The way in and the only way out: every failure becomes a short message and its exit code, never a traceback."""

import sys
from collections.abc import Sequence

import typer

from orchestrator.base.errors import Interrupted, OrchestratorError, Unusable, UsageError
from orchestrator.cli import failures
from orchestrator.cli.app import app

#: What typer makes of a KeyboardInterrupt; no command of ours returns it.
_INTERRUPTED = 130


def main() -> None:
    """The `orchestrator` command."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a narrow encoding is no reason to fail
    raise SystemExit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        return _run(list(arguments))
    except OrchestratorError as error:
        return failures.report(error, as_json="--json" in arguments)


def _run(arguments: list[str]) -> int:
    """Raises OrchestratorError for every failure, whatever raised it."""
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="orchestrator", standalone_mode=False)
    except OrchestratorError:
        raise
    except typer.TyperException as error:
        raise _usage_error(error) from None
    except typer.Abort:
        raise Interrupted("stopped at the question: nothing was sent") from None
    except OSError as error:
        if error.filename is None:
            raise failures.own_fault(error) from error
        raise Unusable(f"{error.filename}: {error.strerror}") from error
    except Exception as error:
        raise failures.own_fault(error) from error
    if code == _INTERRUPTED:
        raise Interrupted("interrupted", hint="what was sent is kept; go on with: orchestrator resume")
    return int(code or 0)


def _usage_error(error: typer.TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"see: {context.command_path} --help" if context is not None else None
    return UsageError(error.format_message().replace(": Value error, ", ": "), hint=hint)
