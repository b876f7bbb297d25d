"""What makes the balance unable to tell about money in doubt, case by case, on a real Postgres."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update

from orchestrator.base.states import JobState, SettledBy, SubmissionState
from orchestrator.engine.evidence import Finding, Judgement, judge, unexplained
from orchestrator.store import doubts, polling, readings, resolving, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.money_holds import told_holds
from orchestrator.store.polling import ItemOutcome
from orchestrator.store.settling import settle_batch
from orchestrator.store.tables import jobs, submissions
from orchestrator.store.tables import readings as reading_rows

from .store_rows import PRICE, claim, make_batch, mark_sent, record_accepted

BATCH = "things-20261122-0001"
OPENING = Decimal(100)
RIPE_SECONDS = doubts.POST_SECONDS + doubts.SETTLING_SECONDS + 1


class Site:
    """An account whose balance is read, and whose time passes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.scope: Scope = make_batch(database, jobs=10)
        self._ahead = 0.0

    def pass_by(self, seconds: float) -> None:
        self._ahead += seconds
        with self.database.begin() as connection:
            connection.execute(
                text(
                    "CREATE OR REPLACE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS "
                    f"$$ SELECT statement_timestamp() + interval '{self._ahead} seconds' $$"
                )
            )

    def read(self, told: Decimal) -> bool:
        with self.database.begin() as connection:
            since = readings.begin(connection, self.scope.account_pk)
        with self.database.begin() as connection:
            return readings.keep(connection, self.scope.account_pk, told, since)

    def send(self) -> ClaimedSubmission:
        work = claim(self.database, self.scope, limit=1)[0]
        with self.database.begin() as connection:
            assert mark_sent(connection, work.id, work.token)
        return work

    def lose(self) -> ClaimedSubmission:
        work = self.send()
        with self.database.begin() as connection:
            assert sending.record_unknown(connection, work.id, work.token, {})
        return work

    def buy(self, state: JobState = JobState.COPYING, spent: str = "3", **more: Any) -> ClaimedSubmission:
        """A job that is paid for, and whose end the provider tells."""
        work = self.send()
        error = {"code": "provider-failed"} if state is JobState.FAILED else None
        with self.database.begin() as connection:
            assert record_accepted(
                connection, work.id, request_id=str(work.id), provider_status=None, answer={}, poll_in_seconds=1
            )
            polling.record_outcomes(connection, {work.id: [ItemOutcome(0, state, Decimal(spent), error=error, **more)]})
            assert polling.resolve_finished(connection, {work.id: "completed"})
        return work

    def judgement(self, told: Decimal) -> Judgement:
        """After two more readings of this balance."""
        self.pass_by(RIPE_SECONDS)
        assert self.read(told)
        self.pass_by(31)
        assert self.read(told)
        with self.database.begin() as connection:
            known = doubts.situation(connection, self.scope.account_pk)
        assert known is not None
        return judge(known)


@pytest.fixture
def site(database: Database) -> Site:
    return Site(database)


def buy_and_lose(site: Site) -> Decimal:
    """The plain case: the balance as it is if what is in doubt was not charged."""
    site.buy()
    site.lose()
    return OPENING - PRICE


def settle_as(settled_by: SettledBy, *, charged: bool) -> Callable[[Site], Decimal]:
    """Another submission in doubt, of which only a person or nobody told."""

    def case(site: Site) -> Decimal:
        other = site.lose()
        settle = resolving.settle_as_charged if charged else resolving.settle_as_not_charged
        with site.database.begin() as connection:
            assert settle(connection, other.id, settled_by, {})
        site.lose()
        return OPENING - (PRICE if charged else 0)

    return case


def assume(site: Site) -> Decimal:
    site.buy(is_told=False)
    site.lose()
    return OPENING - PRICE


def fail_after_charge(site: Site) -> Decimal:
    site.buy(JobState.FAILED)
    site.lose()
    return OPENING - PRICE


def fail_after_charge_and_retry(site: Site) -> Decimal:
    site.buy(JobState.FAILED)
    with site.database.begin() as connection:
        connection.execute(
            update(jobs).where(jobs.c.state == "failed").values(state="pending", error=None, submission_id=None)
        )
    site.lose()
    return OPENING - PRICE


def refund(site: Site) -> Decimal:
    """A request that was taken for lost was found."""
    other = site.lose()
    with site.database.begin() as connection:
        assert resolving.settle_as_charged(connection, other.id, SettledBy.BALANCE, {})
        resolving.give_back_found(connection, other.id, "found")
    site.lose()
    return OPENING - PRICE


def adopt(site: Site) -> Decimal:
    bought = site.buy()
    with site.database.begin() as connection:
        connection.execute(update(submissions).where(submissions.c.id == bought.id).values(body_sha256=None))
    site.lose()
    return OPENING - PRICE


def be_told_by_a_person(site: Site) -> Decimal:
    """Someone found a request id, perhaps another's."""
    found = site.lose()
    with site.database.begin() as connection:
        connection.execute(update(submissions).values(evidence={"said": "an id"}))
        assert record_accepted(
            connection, found.id, request_id="found", provider_status=None, answer={}, poll_in_seconds=1
        )
        polling.record_outcomes(connection, {found.id: [ItemOutcome(0, JobState.COPYING, PRICE)]})
        assert polling.resolve_finished(connection, {found.id: "completed"})
    site.lose()
    return OPENING - PRICE


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (settle_as(SettledBy.PERSON, charged=True), "never told by the provider"),
        (settle_as(SettledBy.PERSON, charged=False), "never told by the provider"),
        (settle_as(SettledBy.WRITE_OFF, charged=True), "never told by the provider"),
        (be_told_by_a_person, "never told by the provider"),
        (assume, "never told by the provider"),
        (fail_after_charge, "a refund for it could hide a charge"),
        (fail_after_charge_and_retry, "a refund for it could hide a charge"),
        (refund, "a refund was booked"),
        (adopt, "at another time or place"),
    ],
)
def test_what_is_not_certain_leaves_it_open(site: Site, case: Callable[[Site], Decimal], reason: str) -> None:
    assert site.read(OPENING)
    judgement = site.judgement(case(site))
    assert judgement.finding is Finding.OPEN
    assert reason in judgement.reason


@pytest.mark.parametrize("beyond", [0, 3])
def test_what_is_certain_decides(site: Site, beyond: int) -> None:
    assert site.read(OPENING)
    judgement = site.judgement(buy_and_lose(site) - beyond)
    assert judgement.finding is (Finding.CHARGED if beyond else Finding.NOT_CHARGED)


def test_what_the_balance_settled_before_is_certain(site: Site) -> None:
    assert site.read(OPENING)
    told = settle_as(SettledBy.BALANCE, charged=True)(site)
    assert site.judgement(told).finding is Finding.NOT_CHARGED


def test_a_failure_that_was_charged_before_the_baseline_may_be_given_back_after_it(site: Site) -> None:
    site.buy(JobState.FAILED)
    site.pass_by(71 * 3600)
    assert site.read(OPENING)
    site.lose()
    assert "a refund for it could hide" in site.judgement(OPENING).reason


def test_after_72_hours_it_is_not_given_back_any_more(site: Site) -> None:
    site.buy(JobState.FAILED)
    site.pass_by(73 * 3600)
    assert site.read(OPENING)
    site.lose()
    assert site.judgement(OPENING).finding is Finding.NOT_CHARGED


def test_a_failure_that_is_not_charged_may_be_given_back_a_little_late(site: Site) -> None:
    site.buy(JobState.FAILED, spent="0")
    assert site.read(OPENING)
    site.lose()
    assert "a late refund for it could hide" in site.judgement(OPENING).reason


def test_after_a_failure_that_is_not_charged_the_books_come_to_rest_first(site: Site) -> None:
    assert site.read(OPENING)
    site.lose()
    site.pass_by(600)
    site.buy(JobState.FAILED, spent="0")
    site.pass_by(doubts.POST_SECONDS + 301)
    with site.database.begin() as connection:
        known = doubts.situation(connection, site.scope.account_pk)
    assert known is not None
    judgement = judge(known)
    assert judgement.finding is Finding.WAIT
    assert judgement.look_at is not None
    assert 290 < (judgement.look_at - known.now).total_seconds() < 300
    assert site.judgement(OPENING).finding is Finding.NOT_CHARGED


def test_a_baseline_with_something_in_doubt_is_none(site: Site) -> None:
    site.lose()
    assert site.read(OPENING)
    site.lose()
    assert "not read before" in site.judgement(OPENING).reason


def test_the_last_reading_before_the_first_doubt_is_the_baseline(site: Site) -> None:
    for told in (OPENING, OPENING - 7):
        assert site.read(told)
    for _ in range(2):
        site.lose()
    assert site.judgement(OPENING - 7 - 2 * PRICE).finding is Finding.CHARGED


def test_charges_count_up_to_each_reading(site: Site) -> None:
    assert site.read(OPENING)
    site.lose()
    site.pass_by(RIPE_SECONDS)
    assert site.read(OPENING)
    site.buy()
    assert site.judgement(OPENING - PRICE).finding is Finding.NOT_CHARGED
    with site.database.begin() as connection:
        known = doubts.situation(connection, site.scope.account_pk)
    assert known is not None
    assert [told.charged for told in known.readings] == [0, PRICE, PRICE]
    assert {unexplained(known, told) for told in known.readings} == {0}


def test_one_verdict_of_not_telling_is_for_good(site: Site) -> None:
    """The balance moved for reasons of others: that it fits by chance later is no proof."""
    assert site.read(OPENING)
    site.lose()
    assert site.judgement(OPENING - 1).finding is Finding.OPEN
    with site.database.begin() as connection:
        known = doubts.situation(connection, site.scope.account_pk)
        assert known is not None
        doubts.record_judgement(connection, known, {"reason": "1 credit is unexplained"})
    site.lose()
    assert "an earlier doubt that is still open" in site.judgement(OPENING).reason
    with site.database.begin() as connection:
        assert doubts.any_unjudged(connection, site.scope.account_pk), "the second one was not judged yet"


def test_a_reading_is_quiet_only_while_nothing_of_ours_moves(site: Site) -> None:
    def read_while(act: Callable[[], object]) -> bool:
        with site.database.begin() as connection:
            since = readings.begin(connection, site.scope.account_pk)
        act()
        with site.database.begin() as connection:
            return readings.keep(connection, site.scope.account_pk, OPENING, since)

    assert read_while(lambda: None)
    assert not read_while(site.buy)
    assert not read_while(site.lose)
    assert read_while(lambda: None), "what is in doubt is no matter"
    sent = site.send()
    assert not read_while(lambda: None)
    with site.database.begin() as connection:
        assert sending.take_back(connection, sent.id, sent.token, reason="stopped")
    assert read_while(lambda: None)
    with site.database.begin() as connection:
        quiet = connection.execute(select(reading_rows.c.quiet).order_by(reading_rows.c.at)).scalars().all()
    assert quiet == [True, False, False, True, False, True]


def test_a_baseline_is_wanted_before_the_first_claim_after_a_quiet_time(site: Site) -> None:
    def wanted() -> bool:
        with site.database.begin() as connection:
            return readings.wants_baseline(connection, site.scope)

    assert wanted()
    site.read(OPENING)
    assert not wanted(), "it was just read"
    sent = site.send()
    assert not wanted(), "something is under way"
    with site.database.begin() as connection:
        end = SubmissionState.REFUSED
        sending.record_returned(connection, sent.id, sent.token, end=end, answer={}, retry_in_seconds=60)
    assert wanted(), "nine others are due"
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(due_at=text("orchestrator_now() + interval '1 hour'")))
    assert not wanted(), "nothing is due"


def test_the_hold_promises_nothing_of_a_balance_that_cannot_tell(site: Site) -> None:
    """A person has settled a sibling by hand."""
    assert site.read(OPENING)
    settle_as(SettledBy.PERSON, charged=True)(site)
    with site.database.begin() as connection:
        told = doubts.outlook(connection, BATCH)
        settle_batch(connection, BATCH)
        (hold,) = told_holds(connection, BATCH)
    assert told == ("the balance cannot tell: what another submission cost was never told by the provider", False)
    assert hold.command.startswith(f"orchestrator resolve {BATCH} --job ")


def test_the_hold_says_when_the_balance_may_tell(site: Site) -> None:
    assert site.read(OPENING)
    site.lose()
    with site.database.begin() as connection:
        told = doubts.outlook(connection, BATCH)
        settle_batch(connection, BATCH)
        (hold,) = told_holds(connection, BATCH)
    assert told is not None
    assert told.words.endswith(f"UTC on the balance may tell: orchestrator resume {BATCH}")
    assert hold.command == f"orchestrator resume {BATCH}"
    with site.database.begin() as connection:
        connection.execute(update(submissions).values(evidence={"reason": "it is shared"}))
        assert doubts.outlook(connection, BATCH) == ("the balance cannot tell: it is shared", False)
        assert doubts.outlook(connection, "another") is None
