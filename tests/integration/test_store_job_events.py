"""What is read in order to show jobs: as they are now, and no more than asked."""

from orchestrator.base.states import JobState
from orchestrator.store import job_events
from orchestrator.store.database import Database
from orchestrator.store.event_tail import HAPPENINGS, Tail

from .store_rows import claim, force_jobs, make_batch, put_submission

BATCH = "things-20261122-0001"


def test_jobs_are_read_as_they_are_now_by_the_names_in_their_events(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    tail = Tail(HAPPENINGS)
    with database.begin() as connection:
        (begun,) = tail.read(connection)
        tail.passed(begun)
        unsent = job_events.unsent_jobs(connection, BATCH, limit=2)
    assert (begun.entity, begun.from_state) == ("batch", None)
    assert [(job.name, job.state, job.claimed_at) for job in unsent] == [
        ("job-0", JobState.PENDING, None),
        ("job-1", JobState.PENDING, None),
    ]
    claim(database, scope, limit=1)
    with database.begin() as connection:
        names = [(event.batch_id, event.entity_id) for event in tail.read(connection) if event.entity == "job"]
        (job,) = job_events.named_jobs(connection, names)
    assert (job.name, job.state, job.attempts, job.sent_at) == ("job-0", JobState.SUBMITTING, 0, None)
    assert job.claimed_at is not None


def test_open_jobs_are_those_that_were_sent_and_then_the_first_of_the_others(database: Database) -> None:
    scope = make_batch(database, jobs=6)
    with database.begin() as connection:
        told = {"generation_seconds": {"2": 46.5}}  # by the position in the request
        submission = put_submission(connection, BATCH, scope.account_pk, "accepted", answer=told)
        force_jobs(
            connection, BATCH, ["pending", "completed", "generating", "failed", "waiting", "in_doubt"], submission
        )
        found = job_events.open_jobs(connection, limit=3)
        counts = job_events.job_states(connection, job_pks=[job.pk for job in found], submission_ids=[submission])
    assert [(job.name, job.generation_seconds) for job in found] == [("job-2", 46.5), ("job-5", None), ("job-0", None)]
    assert counts == {(BATCH, state): 1 for state in ("pending", "completed", "generating", "failed", "in_doubt")}
