"""Logging of the commands, set up here and nowhere else: warnings of ours to stderr, more with `-v`; no secrets."""

import logging
import sys

from rich.text import Text

from orchestrator.base.errors import Unusable
from orchestrator.cli.console import err, printable


class _StderrHandler(logging.Handler):
    """Writes through the console, so that a log line never breaks a live display."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            err().print(Text(printable(self.format(record)), style="dim"), soft_wrap=True)
        except Exception:  # noqa: BLE001 - what logging asks of a handler
            self.handleError(record)


def set_up_logging(*, verbose: bool) -> None:
    """`verbose` shows what the orchestrator does; other libraries are heard from WARNING on in either case.

    With ORCHESTRATOR_LOG_FORMAT=json each line is an object, and what happens is told without `verbose`, too.
    """
    from orchestrator.base.logs import JsonFormatter, Redacting, redactor

    log_format, secrets = _settings()
    is_json = log_format == "json"
    handler = logging.StreamHandler(sys.stderr) if is_json else _StderrHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
    redact = redactor(secrets)
    handler.setFormatter(JsonFormatter(redact) if is_json else Redacting(text, redact))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    quiet = logging.INFO if is_json else logging.WARNING
    logging.getLogger("orchestrator").setLevel(logging.DEBUG if verbose else quiet)


def _settings() -> tuple[str, list[str]]:
    """How to log, and what never to; settings that cannot be used are the command's to complain about."""
    from orchestrator.base.settings import load_settings

    try:
        settings = load_settings()
    except Unusable:
        return "text", []
    return settings.log_format, settings.secrets
