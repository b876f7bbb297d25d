"""What `doctor` finds about workers: whether anybody does what is to be done."""

from orchestrator.base.settings import Settings
from orchestrator.operations.check import Check, Verdict
from orchestrator.store import leases, metrics, schedules
from orchestrator.store.database import Database


def workers(settings: Settings, database: Database) -> Check:
    """How many are alive, against what waits for them."""
    with database.begin() as connection:
        alive = leases.count_alive(connection)
        running = metrics.count_running(connection)
        waiting = schedules.count_active(connection)
    if alive:
        return Check("workers", Verdict.OK, f"{alive} at work (one for each account that a process works for)")
    if not running and not waiting:
        return Check("workers", Verdict.OK, "none at work, and nothing waits for one")
    counts = {"running batch(es)": running, "schedule(s)": waiting}
    what = " and ".join(f"{number} {word}" for word, number in counts.items() if number)
    once = "; or orchestrator resume, until the batches end" if running and settings.broker_url is None else ""
    return Check("workers", Verdict.WARN, f"none at work, for {what}", f"orchestrator worker{once}")
