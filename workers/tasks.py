"""The tasks, as Flower shows them. Each does what is due of its kind until nothing is, takes and returns nothing."""
# mypy: disallow-untyped-decorators=False
# (Celery has no types.)

from workers.app import app
from workers.runtime import runtime


@app.task(name="submit")
def submit() -> None:
    """Send what may be sent."""
    runtime().work_off("submit")


@app.task(name="poll")
def poll() -> None:
    """Ask for the state of requests that are due."""
    runtime().work_off("poll")


@app.task(name="copy")
def copy() -> None:
    """Store the files of finished jobs."""
    runtime().work_off("copy")


@app.task(name="settle")
def settle() -> None:
    """Take up what dead workers held, bring batches into line, write their indexes."""
    runtime().work_off("settle")
