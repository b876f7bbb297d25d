"""How `celery -A workers flower` starts: closed, for reading only, on this machine only, and showing jobs.

Whatever the operator sets, in the environment, a `flowerconfig.py` or the command line, wins.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click
from celery.signals import import_modules

from orchestrator.base.errors import Unusable

_USER = "flower"
#: Flower reads FLOWER_... before its file and its command line. 20,000 tasks take it about 100 MB.
_DEFAULTS = {
    "FLOWER_ADDRESS": "127.0.0.1",
    "FLOWER_READ_ONLY": "true",
    "FLOWER_TASKS_COLUMNS": "name,args,state,runtime,result,received,uuid",
    "FLOWER_NATURAL_TIME": "true",
    "FLOWER_MAX_TASKS": "20000",
    "FLOWER_PURGE_OFFLINE_WORKERS": "86400",
}
_PASSWORD = "FLOWER_BASIC_AUTH"  # noqa: S105 - the name of the setting


def prepare() -> None:
    """Called while `celery` loads the app: where it does so for Flower, give it our defaults."""
    context = click.get_current_context(silent=True)
    if context is None or context.invoked_subcommand != "flower":
        return
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    _read_password_file()
    import_modules.connect(_close_the_door, weak=False)  # Flower has read all of its options by then, and serves later


def _read_password_file() -> None:
    """`FLOWER_BASIC_AUTH_FILE`, as every secret of ours may be given. Ends the process where it cannot be read."""
    path = os.environ.get(f"{_PASSWORD}_FILE")
    if path is None or _PASSWORD in os.environ:
        return
    try:
        os.environ[_PASSWORD] = Path(path).read_text().strip()
    except (OSError, UnicodeError) as error:
        print(f"error: {_PASSWORD}_FILE cannot be read: {error}", file=sys.stderr)
        raise SystemExit(Unusable.exit_code) from None


def _close_the_door(**_: Any) -> None:
    """Without a password, or another way to log in, make a password and say it once."""
    from flower.options import options

    if any(options.basic_auth or ()) or options.auth:
        return
    password = secrets.token_urlsafe(18)
    options.basic_auth = [f"{_USER}:{password}"]
    print(
        f"no {_PASSWORD} is set: for this run, log in to Flower as user {_USER!r} with the password {password}",
        file=sys.stderr,
        flush=True,
    )
