"""The tasks. Each does what is due of its kind until nothing is, takes and returns nothing; most find nothing to do.

`send_events=False`: Celery tells of none of them; those that moved something tell of it themselves.
"""
# mypy: disallow-untyped-decorators=False
# (Celery has no types.)

from functools import partial
from typing import Any

from workers.app import app
from workers.chunks import run_shown
from workers.runtime import runtime


@app.task(name="submit", bind=True, send_events=False)
def submit(self: Any) -> None:
    """Send what may be sent."""
    _work_off(self)


@app.task(name="poll", bind=True, send_events=False)
def poll(self: Any) -> None:
    """Ask for the state of requests that are due."""
    _work_off(self)


@app.task(name="copy", bind=True, send_events=False)
def copy(self: Any) -> None:
    """Store the files of finished jobs."""
    _work_off(self)


@app.task(name="settle", bind=True, send_events=False)
def settle(self: Any) -> None:
    """Take up what dead workers held, bring batches into line, write their indexes."""
    _work_off(self)


def _work_off(task: Any) -> None:
    run_shown(task, partial(runtime().work_off, task.name))
