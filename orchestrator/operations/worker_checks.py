"""What `doctor` finds about workers: whether anybody does what is to be done, and has the keys for it."""

from collections.abc import Iterator

from orchestrator.base.settings import Settings
from orchestrator.operations.check import Check, Health
from orchestrator.store import leases, metrics, schedules
from orchestrator.store.accounts import origin_and_account
from orchestrator.store.database import Connection, Database


def workers(settings: Settings, database: Database) -> Iterator[Check]:
    """How many are alive and have the keys of which account, against what waits for them."""
    with database.begin() as connection:
        alive = leases.count_alive(connection)
        senders = leases.senders_by_account(connection)
        running = metrics.running_by_account(connection)
        active = schedules.active_by_account(connection)
        accounts = {pk: _account(connection, pk) for pk in {*senders, *running, *active}}
    once = "; or orchestrator resume, until the batches end" if running and settings.broker_url is None else ""
    if not alive and not running and not active:
        yield Check("workers", Health.OK, "none at work, and nothing waits for one")
    elif not alive:
        waiting = _waiting(sum(running.values()), sum(active.values()))
        yield Check("workers", Health.WARN, f"none at work, for {waiting}", f"orchestrator worker{once}")
    else:
        keyed = [f"{number} with the keys of {accounts[pk]}" for pk, number in sorted(senders.items())]
        keyless = alive - sum(senders.values())
        parts = ", ".join([*keyed, *([f"{keyless} without keys, which send nothing"] if keyless > 0 else [])])
        yield Check("workers", Health.OK, f"{alive} at work (one for each account that a process works for): {parts}")
        for pk in sorted({*running, *active} - senders.keys()):
            waiting = _waiting(running.get(pk, 0), active.get(pk, 0))
            yield Check(
                "workers", Health.WARN, f"none of them has the keys of {accounts[pk]}, for {waiting}",
                f"orchestrator worker, with those keys{once}",
            )  # fmt: skip


def _account(connection: Connection, pk: int) -> str:
    return origin_and_account(connection, pk)[1]


def _waiting(running: int, active: int) -> str:
    counts = {"running batch(es)": running, "schedule(s)": active}
    return " and ".join(f"{number} {word}" for word, number in counts.items() if number)
