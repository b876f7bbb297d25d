"""The simulation itself: some seeds hold, every seed replays exactly, and the auditor sees what a broken rule does."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.assets.verify import Verified
from orchestrator.base.payments import Payment
from orchestrator.base.states import SettledBy, SubmissionState
from orchestrator.engine import answered, placing, replay, settle
from orchestrator.sandbox import FaultRule, Ways
from orchestrator.store import ledger, payments, purse, resolving, sending
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.leases import Rescued

from .play import own_stage, play
from .scenario import BatchDraft, Incident, JobDraft, Scenario
from .setting import SECRET
from .stage import Stage


@pytest.fixture(scope="module")
def stage(postgres: EmbeddedPostgres) -> Iterator[Stage]:
    with own_stage(postgres.url, "simulation") as ready:
        yield ready


def scenario(*rules: FaultRule, jobs: int = 4, **values: Any) -> Scenario:
    """A small world with one batch of images at three credits each."""
    drafts = [JobDraft("gen", Decimal(3), f"A thing #{n}#") for n in range(jobs)]
    return Scenario(0, [BatchDraft(drafts)], rules=list(rules), **values)


@pytest.mark.parametrize("seed", [8, 12, 16, 18])
def test_a_seed_holds(stage: Stage, seed: int) -> None:
    """Credits pay for the first, USDC for the others: on Base, on Solana, from a balance.

    Broken? `make simulate SEED=<seed>` plays it again, the very same way.
    """
    assert play(stage, seed).wrong == []


def test_a_seed_replays_exactly(stage: Stage) -> None:
    """Every statement with its values, every fault point, at the same instants: also after another simulation."""
    first = play(stage, 16, traced=True)
    between = play(stage, scenario(jobs=1))
    again = play(stage, 16, traced=True)
    assert first.trace == again.trace
    assert (first.digest, first.wrong) == (again.digest, again.wrong)
    assert first.digest != between.digest


def test_an_undisturbed_batch_completes(stage: Stage) -> None:
    played = play(stage, scenario())
    assert played.wrong == []
    assert played.tally.ends == {"completed": 1, "job completed": 4}


def broken(stage: Stage, world: Scenario) -> str:
    """What the auditor says of it; an invariant a line."""
    return "\n".join(play(stage, world).wrong)


def test_sending_an_unknown_submission_again_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def return_instead(connection: Any, submission_id: Any, token: Any, answer: Any) -> bool:
        return sending.record_returned(
            connection, submission_id, token, end=SubmissionState.NOT_SENT, answer=answer, retry_in_seconds=0
        )

    monkeypatch.setattr(sending, "record_unknown", return_instead)
    assert "I1 once" in broken(stage, scenario(FaultRule(at="submit", kind="drop-after-charge")))


def test_a_rescue_that_sends_again_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker dies after its POST arrived; whoever comes after it takes that for not sent."""

    def forgetful(connection: Any) -> Rescued:
        connection.exec_driver_sql("UPDATE submission SET lease_token = NULL, lease_owner = NULL WHERE state = 'sent'")
        connection.exec_driver_sql(
            "UPDATE job SET state = 'pending' FROM submission WHERE submission.id = submission_id "
            "AND submission.state = 'sent' AND job.state = 'submitting'"
        )
        return Rescued(0, 0, 0)

    monkeypatch.setattr(settle, "rescue", forgetful)
    slow = FaultRule(at="submit", kind="slow", seconds=20)
    assert "I1 once" in broken(stage, scenario(slow, incidents=[Incident(5, "kill")]))


def test_a_budget_that_is_not_checked_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purse.Purse, "affordable", lambda _, __, rows: rows)
    world = scenario()
    world.batches[0].budget = Decimal(7)
    assert "I2 cap" in broken(stage, world)


def test_a_charge_that_is_not_booked_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "charge", lambda *_: None)
    assert "I6 ledger" in broken(stage, scenario())


def test_a_file_that_is_not_verified_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "verify", lambda *_: Verified("image/png", ".png", 16, 16, None))
    assert "I3 asset" in broken(stage, scenario(FaultRule(at="asset", kind="corrupt", match="/original/")))


def test_a_lease_that_nobody_puts_back_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "rescue", lambda _: Rescued(0, 0, 0))
    slow = FaultRule(at="submit", kind="slow", seconds=20)
    world = scenario(slow, incidents=[Incident(5, "kill")], patience_seconds=60)
    assert "I4 liveness" in broken(stage, world)


def test_a_secret_in_a_row_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def telling(connection: Any, taken: Any) -> Any:
        return sending.record_accepted(connection, [replace(it, answer={"header": SECRET}) for it in taken])

    monkeypatch.setattr(answered, "sending", _With(sending, record_accepted=telling))
    assert "I9 secret" in broken(stage, scenario())


def paid(*rules: FaultRule, **values: Any) -> Scenario:
    """A small world that pays by the request, at a provider that takes no payment for an answer twice."""
    return scenario(*rules, jobs=2, payment=Payment.X402_BASE, ways=Ways(replays="refused"), **values)


SETTLED_FOR_NOTHING = FaultRule(at="submit", kind="500-after-settlement")


@pytest.mark.parametrize("payment", [Payment.X402_SOLANA, Payment.WALLET_BASE])
def test_an_undisturbed_batch_that_usdc_pays_completes(stage: Stage, payment: Payment) -> None:
    played = play(stage, scenario(jobs=2, payment=payment))
    assert (played.wrong, played.tally.ends) == ([], {"completed": 1, "job completed": 2})


def test_what_settled_for_nothing_is_not_bought_again(stage: Stage) -> None:
    played = play(stage, paid(SETTLED_FOR_NOTHING))
    assert played.wrong == []
    assert played.tally.ends == {"partial_failure": 1, "job completed": 1, "job failed": 1}


def test_a_payment_that_settled_and_is_called_void_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(connection: Any, work: Any, _: Any) -> None:
        resolving.settle_as_not_charged(connection, work.id, SettledBy.CHAIN, {})

    monkeypatch.setattr(replay, "_record_settled", mistaken)
    assert "I1 once" in broken(stage, paid(SETTLED_FOR_NOTHING))


def test_a_signature_in_another_row_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    end = payments.end

    def telling(connection: Any, *arguments: Any, **named: Any) -> bool:
        connection.exec_driver_sql(
            "UPDATE submission SET answer = jsonb_build_object('header', signed) FROM payment "
            "WHERE submission_id = submission.id AND signed IS NOT NULL"
        )
        return end(connection, *arguments, **named)

    monkeypatch.setattr(payments, "end", telling)
    assert "I9 secret" in broken(stage, paid(SETTLED_FOR_NOTHING))


class _With:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self.__dict__.update(vars(module) | replaced)
