"""What a batch begins with that is not sent: reused jobs, those left out, and those that their own row spoilt."""

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.base.errors import UsageError
from orchestrator.base.states import JobState
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.result import PlannedJob, RejectedJob
from orchestrator.store import collections, creating, job_reads, reads, retrying, settling
from orchestrator.store.collections import Shelf
from orchestrator.store.database import Database

from .store_rows import PRICE, account, force_jobs, job_states, put_submission

FIRST, SECOND = "things-20261122-0001", "things-20261123-0001"
FAULT = Diagnostic(Code.UNSUPPORTED_ASPECT_RATIO, "`5:5` is no aspect ratio (products.csv, row 12)", "things.yaml")


def planned(count: int) -> list[PlannedJob]:
    return [
        PlannedJob(
            n, f"job-{n}", "image", "gen", {"type": "image", "model": "gen", "prompt": f"{n}"}, {}, PRICE, f"fp1:{n}",
            row={"sku": f"{n}"},
        )
        for n in range(count)
    ]  # fmt: skip


def store(database: Database, batch_id: str, jobs: int = 3, **more: Any) -> int:
    account_pk = account(database)
    new = creating.NewBatch(
        id=batch_id,
        name="things",
        sandbox=False,
        account_pk=account_pk,
        destination="file:///nowhere",
        media="/nowhere",
        key="{name}/{job}/{index}-{sha8}{ext}",
        bundle=1,
        labels={},
        manifest="/nowhere/things.yaml",
        catalog=bundled_catalog(),
        estimated=PRICE * jobs,
        budget=None,
        usd_per_credit=Decimal("0.0052"),
        jobs=planned(jobs),
        **more,
    )
    with database.begin() as connection:
        creating.create_batch(connection, new)
    return account_pk


def complete_first(database: Database, states: list[JobState]) -> None:
    account_pk = store(database, FIRST)
    with database.begin() as connection:
        submission = put_submission(connection, FIRST, account_pk, "resolved")
        force_jobs(connection, FIRST, states, submission)


def spoilt(ordinal: int) -> RejectedJob:
    return RejectedJob(ordinal, f"job-{ordinal}", None, None, {}, {"sku": str(ordinal)}, FAULT)


def test_a_spoilt_row_is_a_rejected_job_that_nothing_sends(database: Database) -> None:
    store(database, SECOND, rejected=[spoilt(3)])
    with database.begin() as connection:
        job = job_reads.job_documents(connection, SECOND, state="rejected")[0]
        with pytest.raises(UsageError, match="nothing to retry"):
            retrying.choose(connection, SECOND, job=None, error=None, again=True)
        with pytest.raises(UsageError, match="has nothing to send"):
            retrying.choose(connection, SECOND, job="job-3", error=None, again=True)
    assert (job["id"], job["type"], job["model"], job["attempts"]) == ("job-3", None, None, 0)
    assert job["error"] == {
        "code": "rejected-input",
        "message": "unsupported-aspect-ratio: `5:5` is no aspect ratio (products.csv, row 12)",
        "charged": False,
        "provider": None,
    }


def test_what_is_not_bought_says_nothing_of_how_well_it_goes(database: Database) -> None:
    complete_first(database, [JobState.COMPLETED] * 3)
    with database.begin() as connection:
        found = collections.history(connection, Shelf("things", account(database)), ["fp1:0"], "file:///nowhere")
    (past,) = found.by_fingerprint["fp1:0"]
    reused = dict.fromkeys(range(20), past.pk)
    more = {"stop_when_failed_over": Decimal("0.4"), "rejected": [spoilt(40 + n) for n in range(9)], "reused": reused}
    account_pk = store(database, SECOND, jobs=23, **more)
    with database.begin() as connection:
        assert not reads.batch_document(connection, SECOND)["holds"]
        settling.settle_batch(connection, SECOND)
        assert not reads.batch_document(connection, SECOND)["holds"]
        submission = put_submission(connection, SECOND, account_pk, "resolved")
        force_jobs(connection, SECOND, [JobState.COMPLETED] * 20 + [JobState.FAILED] * 2, submission)
        settling.settle_batch(connection, SECOND)
        (hold,) = reads.batch_document(connection, SECOND)["holds"]
    assert hold["message"] == "2 of 2 jobs failed, and the batch is to stop when over 40% do"


def test_a_history_knows_the_newest_result_and_the_names_of_now(database: Database) -> None:
    complete_first(database, [JobState.COMPLETED, JobState.FAILED, JobState.PENDING])
    with database.begin() as connection:
        found = collections.history(
            connection, Shelf("things", account(database)), ["fp1:0", "fp1:1", "fp1:2", "fp1:9"], "file:///nowhere"
        )
        elsewhere = collections.history(connection, Shelf("others", account(database)), ["fp1:0"], "file:///nowhere")
        everywhere = collections.history(
            connection, Shelf("others", account(database), everywhere=True), ["fp1:0"], "file:///nowhere"
        )
    assert found.by_fingerprint.keys() == {"fp1:0", "fp1:1"}
    assert found.by_name.keys() == {"job-0", "job-1", "job-2"}
    assert found.by_name["job-0"].item is None
    assert (elsewhere.by_fingerprint, elsewhere.by_name) == ({}, {})
    assert (everywhere.by_fingerprint.keys(), everywhere.by_name) == ({"fp1:0"}, {})


def test_of_many_nights_only_the_newest_copy_counts(database: Database) -> None:
    complete_first(database, [JobState.COMPLETED] * 3)
    shelf = Shelf("things", account(database))
    for night in range(3):
        with database.begin() as connection:
            found = collections.history(connection, shelf, ["fp1:0"], "file:///nowhere")
        (past,) = found.by_fingerprint["fp1:0"]
        assert past.made_in == FIRST
        store(database, f"things-2026120{night}-0001", jobs=1, reused={0: past.pk})
    assert job_states(database, "things-20261202-0001") == ["completed"]
