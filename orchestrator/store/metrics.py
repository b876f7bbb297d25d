"""The state of everything in numbers, for the metrics: of all batches, but of no sandbox's.

Read by one worker every few seconds: each query is served by an index, or by a table with a row a batch, account or
schedule. What batches brought along as their own sandbox is left out everywhere.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, TextClause, text

from orchestrator.base.money import ZERO
from orchestrator.base.payments import Payment
from orchestrator.base.states import BatchState
from orchestrator.store.budgets import Cap, account_caps, bounds, today, used_since
from orchestrator.store.caps import WINDOWS
from orchestrator.store.leases import count_alive
from orchestrator.store.schedules import PUNCTUAL

#: A reading that takes longer is given up, and the one before stands.
_TIMEOUT_MILLISECONDS = 20_000


@dataclass(frozen=True, slots=True)
class Doubts:
    """Paid requests whose answer was lost: how many, for how much in their unit, and for how long at most."""

    count: int
    money: Decimal
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one instant. Amounts are in the unit of the payment; accounts that pay alike are added up."""

    #: Jobs of batches that have not ended, and those batches, by state; and their holds by code.
    jobs: Mapping[str, int]
    batches: Mapping[str, int]
    holds: Mapping[str, int]
    #: By payment and window (daily, monthly): spent, lost, reserved and in doubt.
    committed: Mapping[tuple[Payment, str], Decimal]
    #: The caps that are set, of each account.
    caps: tuple[tuple[Payment, Cap], ...]
    #: Of the batches that have not ended and have a budget: the largest share of it that one has committed, and by
    #: payment what is left of all of them.
    budget_used_ratio: float
    budget_left: Mapping[Payment, Decimal]
    breakers_open: Mapping[Payment, int]
    doubts: Mapping[Payment, Doubts]
    #: How long the request that has waited longest to be asked about is overdue.
    poll_overdue_seconds: float
    #: Finished jobs that are not stored yet, those of them that failed to be, and when the first one's files are gone.
    copies_waiting: int
    copies_failing: int
    first_expiry_seconds: float | None
    schedule_overdue_seconds: float
    #: Slots of the last day by how they ended, and how many of them began late.
    schedule_runs: Mapping[str, int]
    schedule_runs_late: int
    notices_waiting: int
    #: In the last day.
    notices_given_up: int
    workers_alive: int


def read_snapshot(connection: Connection) -> Snapshot:
    """Read it, in a transaction of its own. Raises DBAPIError where it takes too long."""
    connection.execute(text(f"SET LOCAL statement_timeout = {_TIMEOUT_MILLISECONDS}"))
    committed, caps, breakers = _accounts(connection)
    budgets = connection.execute(_BUDGETS).all()
    copying = connection.execute(_COPYING).one()
    runs = connection.execute(_SCHEDULE_RUNS, {"punctual": PUNCTUAL}).all()
    notices = connection.execute(_NOTICES).one()
    return Snapshot(
        jobs=_counts(connection, _JOBS),
        batches=_counts(connection, _BATCHES),
        holds=_counts(connection, _HOLDS),
        committed=committed,
        caps=caps,
        budget_used_ratio=float(max((row.used_ratio for row in budgets), default=0)),
        budget_left={Payment(row.payment): row.left_over for row in budgets},
        breakers_open=breakers,
        doubts={
            Payment(row.payment): Doubts(row.number, row.money, float(row.oldest_seconds))
            for row in connection.execute(_DOUBTS)
        },
        poll_overdue_seconds=float(connection.execute(_POLL_OVERDUE).scalar_one_or_none() or 0.0),
        copies_waiting=copying.waiting,
        copies_failing=copying.failing,
        first_expiry_seconds=None if copying.first_expiry is None else float(copying.first_expiry),
        schedule_overdue_seconds=float(connection.execute(_SCHEDULE_OVERDUE).scalar_one()),
        schedule_runs={row.state: row.number for row in runs},
        schedule_runs_late=sum(row.late for row in runs),
        notices_waiting=notices.waiting,
        notices_given_up=notices.given_up,
        workers_alive=count_alive(connection),
    )


def running_by_account(connection: Connection) -> dict[int, int]:
    """How many batches of which account wait for workers, those of sandboxes excepted."""
    found = connection.execute(_RUNNING, {"running": BatchState.RUNNING})
    return {row.account_pk: row.number for row in found}


def _counts(connection: Connection, query: TextClause) -> dict[str, int]:
    return {str(word): int(number) for word, number in connection.execute(query)}


def _accounts(
    connection: Connection,
) -> tuple[dict[tuple[Payment, str], Decimal], tuple[tuple[Payment, Cap], ...], dict[Payment, int]]:
    """What is committed, the caps that are set, and the breakers that are open."""
    committed: dict[tuple[Payment, str], Decimal] = defaultdict(lambda: ZERO)
    caps: list[tuple[Payment, Cap]] = []
    breakers: dict[Payment, int] = defaultdict(int)
    day = today(connection)
    for row in connection.execute(_ACCOUNTS).all():
        payment = Payment.of_account(row.account)
        if payment is None:
            continue
        for window in WINDOWS:
            begins, _ = bounds(window, day)
            committed[payment, window] += used_since(connection, row.pk, payment.unit.value, begins)
        caps += [(payment, cap) for cap in account_caps(connection, row.pk)]
        breakers[payment] += row.is_open
    return dict(committed), tuple(caps), dict(breakers)


_JOBS = text(
    """
    SELECT state, count(*) FROM job
    WHERE batch_id IN (SELECT id FROM batch WHERE finished_at IS NULL AND NOT sandbox) GROUP BY state
    """
)
_BATCHES = text("SELECT state, count(*) FROM batch WHERE finished_at IS NULL AND NOT sandbox GROUP BY state")
_RUNNING = text(
    """
    SELECT account_pk, count(*) AS number FROM batch
    WHERE finished_at IS NULL AND state = :running AND NOT sandbox GROUP BY account_pk
    """
)
_HOLDS = text(
    """
    SELECT code, count(*) FROM hold JOIN batch ON batch.id = hold.batch_id
    WHERE batch.finished_at IS NULL AND NOT batch.sandbox GROUP BY code
    """
)
_BUDGETS = text(
    """
    SELECT batch.payment, max(used.amount / batch.budget) AS used_ratio,
           sum(greatest(batch.budget - used.amount, 0)) AS left_over
    FROM batch
    CROSS JOIN LATERAL (SELECT coalesce(sum(credits), 0) AS amount FROM usage WHERE batch_id = batch.id) AS used
    WHERE batch.finished_at IS NULL AND NOT batch.sandbox AND batch.budget > 0 GROUP BY batch.payment
    """
)
#: Accounts of batches' own sandboxes are as many as there were such batches.
_ACCOUNTS = text(
    "SELECT pk, account, breaker_opened_at IS NOT NULL AS is_open FROM account WHERE NOT account LIKE 'sandbox:%'"
)
_DOUBTS = text(
    """
    SELECT batch.payment, count(*) AS number, sum(submission.reserved) AS money,
           extract(epoch FROM max(orchestrator_now() - submission.sent_at)) AS oldest_seconds
    FROM submission JOIN batch ON batch.id = submission.batch_id
    WHERE submission.state = 'unknown' AND NOT batch.sandbox GROUP BY batch.payment
    """
)
_POLL_OVERDUE = text(
    """
    SELECT greatest(extract(epoch FROM orchestrator_now() - submission.due_at), 0)
    FROM submission JOIN batch ON batch.id = submission.batch_id
    WHERE submission.state = 'accepted' AND submission.lease_token IS NULL AND NOT batch.sandbox
    ORDER BY submission.due_at LIMIT 1
    """
)
_COPYING = text(
    """
    SELECT count(*) AS waiting, count(*) FILTER (WHERE job.copy_failures > 0) AS failing,
           extract(epoch FROM min(job.source_expires_at) - orchestrator_now()) AS first_expiry
    FROM job JOIN batch ON batch.id = job.batch_id WHERE job.state = 'copying' AND NOT batch.sandbox
    """
)
_SCHEDULE_OVERDUE = text(
    """
    SELECT coalesce(extract(epoch FROM orchestrator_now() - min(next_at)), 0) FROM schedule
    WHERE NOT paused AND next_at <= orchestrator_now()
    """
)
_SCHEDULE_RUNS = text(
    """
    SELECT run.state, count(*) AS number, count(*) FILTER (WHERE run.started_at - run.slot > :punctual) AS late
    FROM schedule JOIN schedule_run AS run ON run.schedule_pk = schedule.pk
    WHERE run.slot > orchestrator_now() - interval '1 day' GROUP BY run.state
    """
)
_NOTICES = text(
    """
    SELECT count(*) FILTER (WHERE ended_at IS NULL) AS waiting,
           count(*) FILTER (WHERE ended_at > orchestrator_now() - interval '1 day') AS given_up
    FROM notification WHERE delivered_at IS NULL
    """
)
