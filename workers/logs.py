"""Logging of Celery's processes: Celery's own lines without secrets, or ours of JSON."""

import logging
import sys
from typing import Any

from celery.signals import after_setup_logger, after_setup_task_logger, setup_logging

from orchestrator.base.logs import JsonFormatter, Redacting, redactor
from orchestrator.base.settings import load_settings

#: What these say at INFO is about hints and single calls; what becomes of jobs has lines of its own.
_CHATTY = ("celery.worker.strategy", "celery.app.trace", "celery.beat", "httpx", "botocore")


def connect(**_: Any) -> None:
    """Have Celery call what is here when it sets up its logging; the settings are there by then."""
    if load_settings().log_format == "json":
        setup_logging.connect(_set_up_json)  # whoever is connected to this does all of it
    else:
        after_setup_logger.connect(_set_up_text)
        after_setup_task_logger.connect(_redact)


def _set_up_json(loglevel: int | str | None = None, **_: Any) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(redactor(load_settings().secrets)))
    level = logging.INFO if loglevel is None else loglevel
    logging.basicConfig(level=level, handlers=[handler], force=True)
    _hush(level)


def _set_up_text(logger: logging.Logger, loglevel: int | str | None = None, **_: Any) -> None:
    _redact(logger)
    _hush(loglevel)


def _hush(level: int | str | None) -> None:
    """Leave out what is said of every hint, unless all there is was asked for."""
    if level != logging.DEBUG:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)


def _redact(logger: logging.Logger, **_: Any) -> None:
    redact = redactor(load_settings().secrets)
    for handler in logger.handlers:
        handler.setFormatter(Redacting(handler.formatter or logging.Formatter(), redact))
