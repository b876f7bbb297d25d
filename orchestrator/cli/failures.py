"""What went wrong, for people on stderr and for scripts as the one JSON document on stdout."""

import os
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from orchestrator.base.diagnostics import Diagnostic
from orchestrator.base.errors import ManifestError, OrchestratorError
from orchestrator.cli.console import print_json, printable, tell


def report(error: OrchestratorError, *, as_json: bool) -> int:
    """Show an expected failure and return the exit code that it means."""
    if as_json:
        print_json(error.document if isinstance(error, ManifestError) else error_document(error))
        return error.exit_code
    if isinstance(error, ManifestError):
        tell_diagnostics(error.document)
    tell(Text.assemble(("error: ", "bold red"), printable(error.message)))
    if error.hint:
        tell(Text.assemble(("hint: ", "bold cyan"), printable(error.hint)))
    return error.exit_code


def error_document(error: OrchestratorError) -> dict[str, Any]:
    """The `error` document of interface "Commands"."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def tell_diagnostics(document: dict[str, Any]) -> None:
    """The errors and warnings of a `plan` document, in the order of their places; what several jobs have in common is
    one line.
    """
    found = [
        (Diagnostic(**fields), severity) for severity in ("error", "warning") for fields in document[f"{severity}s"]
    ]
    colours = {"error": "red", "warning": "yellow"}
    in_order = sorted(found, key=lambda pair: pair[0].sort_key())
    lines = {printable(diagnostic.render(severity)): severity for diagnostic, severity in in_order}
    for line, severity in lines.items():
        tell(Text(line, style=colours[severity]))


class OwnFault(OrchestratorError):
    """Something nobody foresaw; its traceback is in a log file."""

    code = "internal"
    exit_code = 70


def own_fault(error: BaseException) -> OwnFault:
    """The failure to show for an unexpected exception, after its traceback was written to a file."""
    path = _write_crash_log(error)
    where = f"the details are in {path}" if path else "its details could not be written to a file"
    return OwnFault(
        f"a fault of ours ({type(error).__name__}); {where}", hint="what was paid for is kept: orchestrator status"
    )


def _write_crash_log(error: BaseException) -> Path | None:
    from orchestrator.base.logs import redactor
    from orchestrator.base.settings import Settings

    try:
        settings: Settings | None = Settings()
    except Exception:  # noqa: BLE001 - the settings themselves may be what is broken
        settings = None
    folder = settings.home / "logs" if settings else Path(tempfile.gettempdir())
    path = folder / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = redactor(settings.secrets if settings else [])("".join(traceback.format_exception(error)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return path
