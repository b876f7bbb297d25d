"""Rows for tests of the store: batches of plain jobs, and single rows put into any state."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select, text, update

from orchestrator.base.states import JobState, SubmissionState
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.result import PlannedJob
from orchestrator.store import accounts, claims, creating, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection, Database
from orchestrator.store.leases import Lease
from orchestrator.store.tables import assets, jobs, submissions
from orchestrator.store.tables import batches as batch_table

PRICE = Decimal(3)  # of one image of model gen
ORIGIN = "https://provider.test"


def account(database: Database, name: str = "credits:test") -> int:
    with database.begin() as connection:
        return accounts.account_pk(connection, ORIGIN, name)


def make_batch(
    database: Database,
    batch_id: str = "things-20261122-0001",
    *,
    jobs: int = 3,
    budget: int | None = None,
    bundle: int = 1,
    name: str = "things",
    account_pk: int | None = None,
    models: Sequence[str] = ("gen",),
) -> Scope:
    """A running batch of pending image jobs, of these models by turns, as the scope of its claims."""
    account_pk = account(database) if account_pk is None else account_pk
    item = {"type": "image", "model": "gen", "prompt": "A thing", "aspect_ratio": "1:1"}
    new = creating.NewBatch(
        id=batch_id,
        name=name,
        sandbox=False,
        account_pk=account_pk,
        destination="file:///nowhere",
        media="/nowhere",
        key="{name}/{job}/{index}-{sha8}{ext}",
        bundle=bundle,
        labels={},
        manifest="/nowhere/things.yaml",
        catalog=bundled_catalog(),
        estimated=PRICE * jobs,
        budget=None if budget is None else Decimal(budget),
        usd_per_credit=Decimal("0.0052"),
        jobs=[PlannedJob(n, f"job-{n}", "image", models[n % len(models)], item, {}, PRICE) for n in range(jobs)],
    )
    with database.begin() as connection:
        creating.create_batch(connection, new)
    return Scope(account_pk, (batch_id,))


def claim(
    database: Database, scope: Scope, *, owner: int = 1, limit: int = 100, max_in_flight: int = 64, lease: float = 60
) -> list[ClaimedSubmission]:
    with database.begin() as connection:
        return claims.claim_submissions(
            connection, scope, lease=Lease(uuid4(), owner, lease), limit=limit, max_in_flight=max_in_flight
        )


def job_states(database: Database, batch_id: str) -> list[str]:
    with database.begin() as connection:
        found = connection.execute(select(jobs.c.state).where(jobs.c.batch_id == batch_id).order_by(jobs.c.ordinal))
        return [str(state) for state in found.scalars()]


def row(database: Database, table: Any, **where: Any) -> Any:
    """The one row whose columns have these values."""
    with database.begin() as connection:
        return connection.execute(select(table).filter_by(**where)).one()


def freeze(database: Database) -> str:
    """All rows of batches, jobs and submissions as text, to see whether anything changed."""
    with database.begin() as connection:
        tables = (batch_table, jobs, submissions)
        return "\n".join(
            str(found) for table in tables for found in connection.execute(select(table).order_by(text("1")))
        )


def put_submission(
    connection: Connection, batch_id: str, account_pk: int, state: str, *, reserved: Decimal = PRICE, **values: Any
) -> UUID:
    """A submission that starts in `state`: an INSERT needs no transition."""
    made: dict[str, Any] = {
        "id": uuid4(),
        "batch_id": batch_id,
        "account_pk": account_pk,
        "state": state,
        "reserved": reserved,
        "polls": 0,
        "poll_failures": 0,
        "created_at": text("now()"),
        "body_sha256": "0" * 64,
    }
    if state in (SubmissionState.ACCEPTED, SubmissionState.RESOLVED):
        made |= {"request_id": f"r-{made['id']}", "accepted_at": text("now()"), "due_at": text("now()")}
    connection.execute(insert(submissions).values(made | values))
    return UUID(str(made["id"]))


def put_asset(connection: Connection, job_pk: int, **values: Any) -> int:
    """A file of a job, not stored yet; its row."""
    made = {"job_pk": job_pk, "position": 0, "role": "original", "kind": "image", "tags": []}
    made |= {"source_url": "https://files.test/0.png"}
    return int(connection.execute(insert(assets).values(made | values).returning(assets.c.pk)).scalar_one())


def force_jobs(connection: Connection, batch_id: str, states: Iterable[str], submission_id: UUID | None = None) -> None:
    """Put the jobs of a batch into these states, past the trigger that guards transitions."""
    connection.execute(text("ALTER TABLE job DISABLE TRIGGER job_transition"))
    for ordinal, state in enumerate(states):
        needs = state in (*_PAID, JobState.FAILED)
        connection.execute(
            update(jobs)
            .where(jobs.c.batch_id == batch_id, jobs.c.ordinal == ordinal)
            .values(
                state=state,
                submission_id=submission_id if needs else None,
                position=ordinal if needs else None,
                copy_failures=int(state == JobState.COPYING),
                error={"code": "unknown"} if state in (JobState.FAILED, JobState.REJECTED) else None,
            )
        )
    connection.execute(text("ALTER TABLE job ENABLE TRIGGER job_transition"))


_PAID = (JobState.SUBMITTING, JobState.GENERATING, JobState.COPYING, JobState.COMPLETED, JobState.IN_DOUBT)


def mark_sent(connection: Connection, submission_id: UUID, token: UUID) -> bool:
    """One submission is about to leave."""
    departure = sending.Departure(submission_id, token, "0" * 64)
    return bool(sending.mark_sent(connection, [departure], lease_seconds=60))


def record_accepted(connection: Connection, submission_id: UUID, **said: Any) -> bool:
    """The provider took one submission; `said` as an Acceptance has it."""
    return bool(sending.record_accepted(connection, [sending.Acceptance(submission_id, **said)]))
