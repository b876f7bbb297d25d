"""A durable batch orchestrator for imgnAI's Katana API: the public Python API.

Each name is one verb of the command line, with the same JSON documents; see the README for an example. Names are
loaded at their first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.base import errors
    from orchestrator.base.settings import Settings, load_settings
    from orchestrator.operations.account import balance
    from orchestrator.operations.adopting import adopt
    from orchestrator.operations.approving import approve
    from orchestrator.operations.authoring import convert_venice, init, schema
    from orchestrator.operations.bookkeeping import (
        Wanted,
        ledger_check,
        ledger_entries,
        ledger_statement,
        ledger_sums,
    )
    from orchestrator.operations.budgeting import Limit, budget, set_batch_budget, set_budget
    from orchestrator.operations.comparing import compare_with_collection
    from orchestrator.operations.looking import jobs, recent, status, wait
    from orchestrator.operations.planning import plan
    from orchestrator.operations.pruning import prune
    from orchestrator.operations.reporting import report
    from orchestrator.operations.resolving import resolve, resolve_all
    from orchestrator.operations.resuming import resume
    from orchestrator.operations.retrying import retry
    from orchestrator.operations.reviewing import apply_review
    from orchestrator.operations.scheduling import (
        Times,
        add_schedule,
        apply_schedules,
        list_schedules,
        pause_schedule,
        remove_schedule,
        resume_schedule,
        run_schedule_now,
    )
    from orchestrator.operations.steering import cancel, pause, reject
    from orchestrator.operations.submitting import SubmitOptions, submit

    __version__: str

__all__ = [
    "Limit",
    "Settings",
    "SubmitOptions",
    "Times",
    "Wanted",
    "__version__",
    "add_schedule",
    "adopt",
    "apply_review",
    "apply_schedules",
    "approve",
    "balance",
    "budget",
    "cancel",
    "compare_with_collection",
    "convert_venice",
    "errors",
    "init",
    "jobs",
    "ledger_check",
    "ledger_entries",
    "ledger_statement",
    "ledger_sums",
    "list_schedules",
    "load_settings",
    "pause",
    "pause_schedule",
    "plan",
    "prune",
    "recent",
    "reject",
    "remove_schedule",
    "report",
    "resolve",
    "resolve_all",
    "resume",
    "resume_schedule",
    "retry",
    "run_schedule_now",
    "schema",
    "set_batch_budget",
    "set_budget",
    "status",
    "submit",
    "wait",
]

_HOMES = {
    "Limit": "orchestrator.operations.budgeting",
    "Settings": "orchestrator.base.settings",
    "SubmitOptions": "orchestrator.operations.submitting",
    "Times": "orchestrator.operations.scheduling",
    "Wanted": "orchestrator.operations.bookkeeping",
    "add_schedule": "orchestrator.operations.scheduling",
    "adopt": "orchestrator.operations.adopting",
    "apply_review": "orchestrator.operations.reviewing",
    "apply_schedules": "orchestrator.operations.scheduling",
    "approve": "orchestrator.operations.approving",
    "balance": "orchestrator.operations.account",
    "budget": "orchestrator.operations.budgeting",
    "cancel": "orchestrator.operations.steering",
    "compare_with_collection": "orchestrator.operations.comparing",
    "convert_venice": "orchestrator.operations.authoring",
    "init": "orchestrator.operations.authoring",
    "jobs": "orchestrator.operations.looking",
    "ledger_check": "orchestrator.operations.bookkeeping",
    "ledger_entries": "orchestrator.operations.bookkeeping",
    "ledger_statement": "orchestrator.operations.bookkeeping",
    "ledger_sums": "orchestrator.operations.bookkeeping",
    "list_schedules": "orchestrator.operations.scheduling",
    "load_settings": "orchestrator.base.settings",
    "pause": "orchestrator.operations.steering",
    "pause_schedule": "orchestrator.operations.scheduling",
    "plan": "orchestrator.operations.planning",
    "prune": "orchestrator.operations.pruning",
    "recent": "orchestrator.operations.looking",
    "reject": "orchestrator.operations.steering",
    "remove_schedule": "orchestrator.operations.scheduling",
    "report": "orchestrator.operations.reporting",
    "resolve": "orchestrator.operations.resolving",
    "resolve_all": "orchestrator.operations.resolving",
    "resume": "orchestrator.operations.resuming",
    "resume_schedule": "orchestrator.operations.scheduling",
    "retry": "orchestrator.operations.retrying",
    "run_schedule_now": "orchestrator.operations.scheduling",
    "schema": "orchestrator.operations.authoring",
    "set_batch_budget": "orchestrator.operations.budgeting",
    "set_budget": "orchestrator.operations.budgeting",
    "status": "orchestrator.operations.looking",
    "submit": "orchestrator.operations.submitting",
    "wait": "orchestrator.operations.looking",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("katana-orchestrator")
    if name == "errors":
        return import_module("orchestrator.base.errors")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
