"""What holds one batch is no matter of another's, also where both are looked at in one statement."""

import pytest

from orchestrator.base.states import HoldCode
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database
from orchestrator.store.holds import put_hold
from orchestrator.store.settling import settle_batch, unsettled_batches

from .store_rows import force_jobs, make_batch, put_submission

OURS, THEIRS = "ours-20261122-0001", "theirs-20261122-0001"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (HoldCode.BUDGET_REACHED, "pending"),
        (HoldCode.PROVIDER_REFUSING, "generating"),
        (HoldCode.DESTINATION_FAILING, "copying"),
    ],
)
def test_a_hold_of_another_batch_holds_nothing(database: Database, code: HoldCode, state: str) -> None:
    ours = make_batch(database, OURS, jobs=1)
    make_batch(database, THEIRS, jobs=1, account_pk=ours.account_pk)
    with database.begin() as connection:
        for batch in (OURS, THEIRS):
            submission = put_submission(connection, batch, ours.account_pk, "accepted")
            force_jobs(connection, batch, [state], submission)
        put_hold(connection, THEIRS, code, "for a reason", "orchestrator status")
        assert unsettled_batches(connection, Scope(ours.account_pk)) == [THEIRS]
        assert settle_batch(connection, OURS) == "running"
        assert settle_batch(connection, THEIRS) == "held"
