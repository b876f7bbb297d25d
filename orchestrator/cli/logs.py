"""Logging, set up here and nowhere else: warnings of ours to stderr, more with `-v`."""

import logging

from rich.text import Text

from orchestrator.cli.console import err, printable


class _StderrHandler(logging.Handler):
    """Writes through the console, so that a log line never breaks a live display."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            err().print(Text(printable(self.format(record)), style="dim"), soft_wrap=True)
        except Exception:  # noqa: BLE001 - what logging asks of a handler
            self.handleError(record)


def set_up_logging(*, verbose: bool) -> None:
    """`verbose` shows what the orchestrator does; other libraries are heard from WARNING on in either case."""
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("orchestrator").setLevel(logging.DEBUG if verbose else logging.WARNING)
