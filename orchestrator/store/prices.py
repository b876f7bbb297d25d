"""What a job costs for all that is known: its share of a quote, else what was agreed, else its estimate."""

from typing import Any

from sqlalchemy import func, null

from orchestrator.store.tables import jobs

#: What is reserved for a job.
PRICE = func.coalesce(jobs.c.price, jobs.c.estimate)
#: What was planned for it, or approved since: a quote changes nothing of that.
AGREED = func.coalesce(jobs.c.agreed, PRICE)
#: The column values that take a quote off a job that goes back unpaid: the next one is held against the same plan.
UNQUOTED: dict[str, Any] = {"price": func.coalesce(jobs.c.agreed, jobs.c.price), "agreed": null()}
