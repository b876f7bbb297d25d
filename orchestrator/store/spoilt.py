"""Jobs that their own row spoilt (`on_invalid`): they are `rejected` from the start, and have no item to be sent."""

from sqlalchemy import ColumnElement, and_, literal_column

from orchestrator.base.states import JobState
from orchestrator.store.tables import jobs


def is_spoilt() -> ColumnElement[bool]:
    """Whether there is nothing of a job to send."""
    return and_(jobs.c.state == JobState.REJECTED, jobs.c.item == literal_column("'{}'::jsonb"))
