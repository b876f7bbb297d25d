"""Caps and budgets: set under the account's lock, checked before anything is stored, with commands that work."""

import shlex
import threading
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.states import HoldCode, JobState
from orchestrator.operations.budgeting import check_caps
from orchestrator.store import caps, reads
from orchestrator.store.accounts import Scope
from orchestrator.store.batches import resume_batch
from orchestrator.store.budgets import CapUnit, account_caps, bounds, committed_credits
from orchestrator.store.caps import Limit
from orchestrator.store.database import Database
from orchestrator.store.holds import put_hold
from orchestrator.store.money_holds import ToldHold, told_holds
from orchestrator.store.standing import read_standing
from orchestrator.store.tables import accounts, jobs, usages

from .store_rows import PRICE, account, claim, job_states, make_batch, row

BATCH = "things-20261122-0001"
RATE = Decimal("0.0052")


def set_caps(database: Database, account_pk: int, **limits: Limit | None) -> None:
    named = {window: limits[window] for window in caps.WINDOWS if window in limits}
    with database.begin() as connection:
        caps.set_caps(connection, account_pk, named)


def set_budget(database: Database, batch_id: str, budget: str) -> Decimal:
    with database.begin() as connection:
        return caps.set_batch_budget(connection, caps.batch_budget(connection, batch_id), Decimal(budget))


def hold(database: Database, batch_id: str = BATCH) -> Any:
    with database.begin() as connection:
        return connection.execute(
            text("SELECT * FROM hold WHERE batch_id = :batch AND code = 'budget-reached'"), {"batch": batch_id}
        ).one()


def told(database: Database, batch_id: str = BATCH) -> ToldHold:
    """The hold as it is told now."""
    with database.begin() as connection:
        (found,) = told_holds(connection, batch_id)
    return found


def obey(database: Database, command: str, account_pk: int) -> None:
    """Do what a hold's command says, then resume."""
    words = shlex.split(command)
    assert words[:3] == ["orchestrator", "budget", "set"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    if "--batch" in options:
        set_budget(database, options["--batch"], options["--credits"])
        return
    for option, amount in options.items():
        unit: CapUnit = "usd" if amount.endswith("usd") else "credits"
        set_caps(database, account_pk, **{option.strip("-"): Limit(Decimal(amount.removesuffix(unit)), unit)})


@pytest.mark.parametrize(
    ("day", "daily", "monthly"),
    [
        (date(2026, 11, 22), (date(2026, 11, 22), date(2026, 11, 23)), (date(2026, 11, 1), date(2026, 12, 1))),
        (date(2026, 12, 31), (date(2026, 12, 31), date(2027, 1, 1)), (date(2026, 12, 1), date(2027, 1, 1))),
        (date(2028, 2, 29), (date(2028, 2, 29), date(2028, 3, 1)), (date(2028, 2, 1), date(2028, 3, 1))),
    ],
)
def test_windows_are_utc_days_and_months(day: date, daily: tuple[date, date], monthly: tuple[date, date]) -> None:
    assert bounds("daily", day) == daily
    assert bounds("monthly", day) == monthly


def test_caps_are_set_changed_and_taken_away(database: Database) -> None:
    pk = account(database)
    set_caps(database, pk, daily=Limit(Decimal(500), "credits"), monthly=Limit(Decimal("2.6"), "usd"))
    set_caps(database, pk, daily=Limit(Decimal(7), "usd"))
    with database.begin() as connection:
        found = [(cap.window, cap.unit, cap.amount) for cap in account_caps(connection, pk)]
    assert found == [("daily", "usd", 7), ("monthly", "usd", Decimal("2.6"))]
    set_caps(database, pk, daily=None, monthly=None)
    with database.begin() as connection:
        assert account_caps(connection, pk) == []


@pytest.mark.parametrize(
    "limits",
    [
        {"daily": Limit(Decimal(7), "credits")},
        {"monthly": Limit(Decimal("0.04"), "usd")},
        {"daily": Limit(Decimal("0.000001"), "usd"), "monthly": Limit(Decimal(7), "credits")},
    ],
)
def test_a_caps_hold_names_the_command_that_is_enough_for_the_whole_batch(
    database: Database, limits: dict[str, Limit]
) -> None:
    scope = make_batch(database, jobs=5)
    set_caps(database, scope.account_pk, **limits)
    while claim(database, scope, limit=2):
        pass
    obey(database, hold(database).command, scope.account_pk)
    with database.begin() as connection:
        resume_batch(connection, BATCH)
    claim(database, scope, limit=2)
    claim(database, scope)
    assert job_states(database, BATCH) == [JobState.SUBMITTING] * 5


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_a_budgets_hold_names_what_is_missing_and_the_command_that_is_enough(database: Database, limit: int) -> None:
    scope = make_batch(database, jobs=5, budget=7)
    while claim(database, scope, limit=limit):
        pass
    found = hold(database)
    assert found.message == "job job-2 needs 3 credits, 2 more than the budget of 7 has left"
    assert found.command == f"orchestrator budget set --batch {BATCH} --credits 15"
    obey(database, found.command, scope.account_pk)
    with database.begin() as connection:
        resume_batch(connection, BATCH)
    claim(database, scope)
    assert job_states(database, BATCH) == [JobState.SUBMITTING] * 5


def test_a_hold_says_what_is_so_now_and_never_lowers_a_cap(database: Database) -> None:
    scope = make_batch(database, jobs=4)
    set_caps(database, scope.account_pk, daily=Limit(Decimal(7), "credits"), monthly=Limit(Decimal("0.04"), "usd"))
    while claim(database, scope):
        pass
    assert told(database).command == "orchestrator budget set --daily 12credits --monthly 0.0624usd"
    set_caps(database, scope.account_pk, daily=Limit(Decimal(100), "credits"))
    assert told(database).message == "job job-2 needs 0.0156 usd, 0.0068 more than the monthly cap of 0.04 usd has left"
    assert told(database).command == "orchestrator budget set --monthly 0.0624usd"
    set_caps(database, scope.account_pk, monthly=None)
    assert told(database).message == "there is room again for job job-2, which needs 3 credits"
    assert told(database).command == f"orchestrator resume {BATCH}"
    set_budget(database, BATCH, "7")
    assert told(database).command == f"orchestrator budget set --batch {BATCH} --credits 12"
    with database.begin() as connection:
        assert caps.budget_document(connection, scope.account_pk)["held"][0]["command"] == told(database).command
        assert read_standing(connection, BATCH, max_in_flight=8).holds[0].command == told(database).command


def test_the_command_of_each_held_batch_is_enough_for_all_of_them(database: Database) -> None:
    ids = [f"things-20261122-000{number}" for number in range(1, 4)]
    pk = account(database)
    scopes = [make_batch(database, batch_id, jobs=2, account_pk=pk, name=batch_id) for batch_id in ids]
    set_caps(database, pk, daily=Limit(Decimal(2), "credits"))
    for scope in scopes:
        assert claim(database, scope) == []
    assert {told(database, batch_id).command for batch_id in ids} == {"orchestrator budget set --daily 18credits"}
    assert hold(database, ids[-1]).command == "orchestrator budget set --daily 18credits", "as its notification says"
    obey(database, told(database, ids[0]).command, pk)
    assert [told(database, batch_id).command for batch_id in ids] == [f"orchestrator resume {each}" for each in ids]


def test_room_for_a_direct_payment_is_room_for_a_dearer_offer(database: Database) -> None:
    make_batch(database, jobs=1, budget=3)
    with database.begin() as connection:
        connection.execute(text("UPDATE batch SET payment = 'x402-base'"))
        put_hold(connection, BATCH, HoldCode.BUDGET_REACHED, "an offer", "what was said then")
    assert told(database).message == "job job-0 needs 3.31 USDC, 0.31 more than the budget of 3 has left"
    assert told(database).command == f"orchestrator budget set --batch {BATCH} --usd 3.31"


def test_raising_a_cap_lifts_no_hold_by_itself(database: Database) -> None:
    scope = make_batch(database, jobs=1)
    set_caps(database, scope.account_pk, daily=Limit(Decimal(2), "credits"))
    assert claim(database, scope) == []
    set_caps(database, scope.account_pk, daily=None)
    assert claim(database, scope) == []
    assert hold(database).code == HoldCode.BUDGET_REACHED


def test_a_budget_is_never_below_what_is_committed(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    claim(database, scope, limit=2)
    with pytest.raises(UsageError, match="6 credits of things-20261122-0001 are spent, reserved or in doubt"):
        set_budget(database, BATCH, "5.999999")
    assert set_budget(database, BATCH, "6") == 6
    assert claim(database, scope) == []
    assert set_budget(database, BATCH, "9") == 6


def test_a_lowered_cap_holds_at_once_whatever_is_used(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    claim(database, scope, limit=2)
    set_caps(database, scope.account_pk, daily=Limit(Decimal(1), "credits"))
    assert claim(database, scope) == []
    with database.begin() as connection:
        document = caps.budget_document(connection, scope.account_pk)
    assert (document["daily"]["cap"], document["daily"]["left"]) == ("1", "0")
    assert document["daily"]["used"] == {"credits": "6", "usd": "0.0312"}
    assert document["monthly"]["cap"] is None
    assert [held["batch"] for held in document["held"]] == [BATCH]


def test_a_lowered_budget_and_claims_at_once_never_pass_it(database: Database) -> None:
    """A person lowers the budget while eight workers claim: what is committed stays within what was last accepted."""
    scope = make_batch(database, jobs=60)
    accepted: list[Decimal] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set() and claim(database, scope, limit=1, max_in_flight=1000):
            pass

    def lower() -> None:
        while not accepted:
            with database.begin() as connection:
                wanted = committed_credits(connection, BATCH) + 2 * PRICE
            try:
                set_budget(database, BATCH, str(wanted))
                accepted.append(wanted)
            except UsageError:  # the workers were quicker
                continue

    threads = [threading.Thread(target=work) for _ in range(8)] + [threading.Thread(target=lower)]
    for thread in threads:
        thread.start()
    threads[-1].join(timeout=30)
    for thread in threads[:-1]:
        thread.join(timeout=30)
    stop.set()
    with database.begin() as connection:
        assert committed_credits(connection, BATCH) <= accepted[0]


def test_caps_set_at_the_same_time_are_both_kept(database: Database) -> None:
    pk = account(database)
    changes: tuple[dict[str, Limit], ...] = (
        {"daily": Limit(Decimal(5), "credits")},
        {"monthly": Limit(Decimal(50), "usd")},
    )
    threads = [threading.Thread(target=set_caps, args=(database, pk), kwargs=change) for change in changes * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    found = row(database, accounts, pk=pk)
    assert (found.daily_cap, found.daily_unit, found.monthly_cap, found.monthly_unit) == (5, "credits", 50, "usd")


def test_a_price_is_checked_against_every_cap_before_anything_is_stored(database: Database) -> None:
    scope = make_batch(database, jobs=2)
    claim(database, scope)
    with database.begin() as connection:
        check_caps(connection, scope.account_pk, Decimal(10**9), RATE)
    set_caps(database, scope.account_pk, daily=Limit(Decimal(10), "credits"), monthly=Limit(Decimal("0.05"), "usd"))
    with database.begin() as connection:
        check_caps(connection, scope.account_pk, Decimal("3.6"), RATE)
        with pytest.raises(SpendRefused, match=r"the monthly cap of 0\.05 usd has 0\.0188 left until") as caught:
            check_caps(connection, scope.account_pk, Decimal("3.7"), RATE)
        assert caught.value.code == "over-budget"
        with pytest.raises(SpendRefused, match="daily cap of 10 credits has 4 left") as caught:
            check_caps(connection, scope.account_pk, Decimal(5), RATE)
    assert caught.value.hint is not None
    obey(database, caught.value.hint.split("raise the cap: ")[1], scope.account_pk)
    with database.begin() as connection:
        check_caps(connection, scope.account_pk, Decimal(5), RATE)


def test_what_is_repriced_counts_at_its_new_price(database: Database) -> None:
    scope = make_batch(database, jobs=3, budget=9)
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.ordinal > 0).values(price=5))
    assert len(claim(database, scope)) == 2
    assert hold(database).command == f"orchestrator budget set --batch {BATCH} --credits 13"
    with database.begin() as connection:
        assert connection.execute(select(jobs.c.name).where(jobs.c.state == JobState.PENDING)).scalars().all() == [
            "job-2"
        ]


def test_what_passes_a_budget_is_told(database: Database) -> None:
    scope = make_batch(database, jobs=3, budget=9)
    assert len(claim(database, scope)) == 3
    with database.begin() as connection:
        assert reads.batch_document(connection, BATCH)["over_budget"] is None
        connection.execute(update(jobs).where(jobs.c.ordinal > 0).values(price=5))
        assert reads.batch_document(connection, BATCH)["over_budget"] == "4"


def test_without_a_budget_what_caps_are_summed_from_stays_small(database: Database) -> None:
    scope = make_batch(database, jobs=80)
    for _ in range(80):
        assert claim(database, scope, limit=1, max_in_flight=80)
    with database.begin() as connection:
        assert connection.execute(select(func.count()).select_from(usages)).scalar_one() < 80
        assert committed_credits(connection, BATCH) == 80 * PRICE


def test_other_accounts_have_caps_of_their_own(database: Database) -> None:
    ours, theirs = account(database), account(database, "credits:other")
    set_caps(database, ours, daily=Limit(Decimal(0), "credits"))
    make_batch(database, jobs=1, account_pk=ours)
    make_batch(database, "other-1", jobs=1, account_pk=theirs)
    assert claim(database, Scope(ours)) == []
    assert len(claim(database, Scope(theirs))) == 1
