"""The tables: every fact of the orchestrator lives in one of these rows. A module each is about one subject.

SQLModel tables do not validate; rows are filled from validated values. Checks, triggers and the transition
table that guard them are made by the migrations.
"""

from orchestrator.store.tables.account import accounts, paces, payees, readings
from orchestrator.store.tables.asset import assets, reviews
from orchestrator.store.tables.batch import batches, catalogs, holds
from orchestrator.store.tables.books import ledger, usages
from orchestrator.store.tables.columns import MONEY
from orchestrator.store.tables.event import events, notifications, transitions
from orchestrator.store.tables.job import in_flight, job_needs, jobs
from orchestrator.store.tables.schedule import schedule_runs, schedules
from orchestrator.store.tables.submission import payments, submissions

__all__ = [
    "MONEY",
    "accounts",
    "assets",
    "batches",
    "catalogs",
    "events",
    "holds",
    "in_flight",
    "job_needs",
    "jobs",
    "ledger",
    "notifications",
    "paces",
    "payees",
    "payments",
    "readings",
    "reviews",
    "schedule_runs",
    "schedules",
    "submissions",
    "transitions",
    "usages",
]
