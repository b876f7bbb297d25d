"""Each kind of trouble, and each feature that is made use of: a function that adds it to a scenario.

To add one, write a function that takes a draft and the dice, and list it in `INGREDIENTS` with its odds.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from orchestrator.base.payments import Payment
from orchestrator.engine.local import Tempo
from orchestrator.sandbox import FaultRule, Ways
from orchestrator.sandbox.asset_urls import TWO_MARKER
from orchestrator.store.budgets import Window

from .network import Fate
from .scenario import HOUR, IMAGES, VIDEO, BatchDraft, Incident, JobDraft, Scenario

Ingredient = Callable[[Scenario, random.Random], None]


def _moment(dice: random.Random) -> float:
    """When something happens: mostly while there is much to do."""
    return dice.choice((dice.uniform(0, 2), dice.uniform(0, 30), dice.uniform(0, 300)))


def _while(dice: random.Random) -> float:
    """How long it lasts: from a hiccup to a night."""
    if dice.random() < 0.1:
        return 12 * HOUR
    return dice.choice((dice.uniform(0.1, 5), dice.uniform(5, 120), dice.uniform(120, 1800)))


def kills_at_points(scenario: Scenario, dice: random.Random) -> None:
    scenario.kill_odds = dice.choice((0.002, 0.01, 0.05))
    scenario.kills = dice.choice((1, 1, 2, 3, 6))


def kills_at_any_time(scenario: Scenario, dice: random.Random) -> None:
    scenario.incidents += [Incident(_moment(dice), "kill") for _ in range(dice.choice((1, 2, 3)))]


def slow_restarts(scenario: Scenario, dice: random.Random) -> None:
    scenario.restart_seconds = dice.choice((0.01, 60.0, 600.0, 6 * HOUR, 80 * HOUR))


def a_second_worker(scenario: Scenario, dice: random.Random) -> None:
    scenario.workers = 2


def lost_commits(scenario: Scenario, dice: random.Random) -> None:
    scenario.commit_odds = dice.choice((0.005, 0.03))


def database_outage(scenario: Scenario, dice: random.Random) -> None:
    scenario.incidents.append(Incident(_moment(dice), "database-down", min(_while(dice), 600)))


def lost_session(scenario: Scenario, dice: random.Random) -> None:
    scenario.incidents.append(Incident(_moment(dice), "session-lost"))


def stopped_process(scenario: Scenario, dice: random.Random) -> None:
    scenario.incidents.append(Incident(_moment(dice), "freeze", dice.choice((1.0, 200.0, 400.0, 3 * HOUR, 80 * HOUR))))


def asked_to_stop(scenario: Scenario, dice: random.Random) -> None:
    scenario.incidents.append(Incident(_moment(dice), "stop"))


def bad_network(scenario: Scenario, dice: random.Random) -> None:
    share = dice.choice((0.02, 0.1, 0.3))
    for fate in (Fate.REFUSED, Fate.REQUEST_LOST, Fate.ANSWER_LOST, Fate.RESET, Fate.CUT):
        scenario.odds[fate] = share * dice.random() / 2


def provider_outage(scenario: Scenario, dice: random.Random) -> None:
    seconds = _while(dice)
    scenario.incidents.append(Incident(_moment(dice), "provider-down", seconds))
    if seconds > HOUR:
        _be_patient(scenario)


def failing_destination(scenario: Scenario, dice: random.Random) -> None:
    seconds = _while(dice)
    scenario.incidents.append(Incident(_moment(dice), "destination-down", seconds))
    if seconds > HOUR:
        _be_patient(scenario)


def _be_patient(scenario: Scenario) -> None:
    """Long waits are looked at less often: a night would be a hundred thousand looks."""
    scenario.tempo = Tempo(ask=600.0, settle=120.0, rescue=240.0)


_SUBMIT_FAULTS = (
    "500-before-charge",
    "500-after-charge",
    "502-html",
    "502-html-after-charge",
    "drop-before-charge",
    "drop-after-charge",
    "garbage",
    "partial-failure",
)


def faulty_submits(scenario: Scenario, dice: random.Random) -> None:
    for kind in dice.sample(_SUBMIT_FAULTS, dice.choice((1, 2, 3))):
        scenario.rules.append(_rule(dice, "submit", kind))


def slow_submits(scenario: Scenario, dice: random.Random) -> None:
    scenario.rules.append(_rule(dice, "submit", "slow", seconds=dice.choice((5.0, 100.0, 160.0, 260.0, 500.0))))


def rate_limits(scenario: Scenario, dice: random.Random) -> None:
    for at in dice.choice((("submit",), ("poll",), ("submit", "poll"))):
        wait = dice.choice((0.0, 1.0, 30.0, "http-date", "absent", "absurd"))
        scenario.rules.append(_rule(dice, at, "429", retry_after=wait, seconds=20.0))


def refusals(scenario: Scenario, dice: random.Random) -> None:
    scenario.rules.append(_rule(dice, "submit", dice.choice(("401", "402", "403"))))


def faulty_polls(scenario: Scenario, dice: random.Random) -> None:
    kinds = ("500", "drop", "slow", "404", "401", "unknown-status", "missing-responses", "no-original", "no-assets")
    for kind in dice.sample(kinds, dice.choice((1, 2, 3))):
        scenario.rules.append(_rule(dice, "poll", kind))


def lost_requests(scenario: Scenario, dice: random.Random) -> None:
    """Nothing of a request can be found any more, for good."""
    scenario.rules.append(FaultRule(at="poll", kind="404", times=None, probability=1.0, skip=dice.choice((0, 3))))


def faulty_assets(scenario: Scenario, dice: random.Random) -> None:
    kinds = ("403", "404", "500", "empty", "expired", "html", "slow", "truncated", "truncated-no-length")
    for kind in dice.sample(kinds, dice.choice((1, 2, 3))):
        scenario.rules.append(_rule(dice, "asset", kind))
    scenario.rules.append(_rule(dice, "asset", "corrupt", match=".png"))


def second_files(scenario: Scenario, dice: random.Random) -> None:
    """Some jobs have two files, the second of which may be what fails."""
    for batch in scenario.batches:
        batch.jobs[:] = [_with_two_files(job) if dice.random() < 0.4 else job for job in batch.jobs]
    kind = dice.choice(("403", "404", "500", "empty", "html", "slow", "truncated"))
    scenario.rules.append(_rule(dice, "asset", kind, match="/second/"))
    if dice.random() < 0.3:
        gone = FaultRule(at="asset", kind=kind, match="/second/", times=None, probability=0.5, seed=scenario.seed)
        scenario.rules.append(gone)


def _with_two_files(job: JobDraft) -> JobDraft:
    return replace(job, prompt=f"{job.prompt} {TWO_MARKER}")


def hopeless_assets(scenario: Scenario, dice: random.Random) -> None:
    kind = dice.choice(("html", "truncated", "empty", "404", "500"))
    scenario.rules.append(FaultRule(at="asset", kind=kind, times=None, probability=0.5, seed=scenario.seed))


def short_lived_assets(scenario: Scenario, dice: random.Random) -> None:
    scenario.asset_lifetime_seconds = dice.choice((20.0, 300.0, HOUR))


def slow_provider(scenario: Scenario, dice: random.Random) -> None:
    scenario.time_scale = dice.choice((10.0, 100.0))
    _be_patient(scenario)


def endless_work(scenario: Scenario, dice: random.Random) -> None:
    """The provider does not finish within 72 hours, most of which our processes sleep through."""
    scenario.batches = [BatchDraft(scenario.batches[0].jobs[:2])]
    scenario.max_in_flight = 64
    scenario.time_scale = 50_000.0
    scenario.incidents += [Incident(600.0 + n, "freeze", 71 * HOUR) for n in range(scenario.workers)]
    scenario.tempo = Tempo(ask=3600.0, settle=600.0, rescue=1200.0)


def failing_jobs(scenario: Scenario, dice: random.Random) -> None:
    for batch in scenario.batches:
        for number, job in enumerate(batch.jobs):
            if dice.random() < 0.3:
                marker = dice.choice(("[sandbox:fail]", "[sandbox:moderation]"))
                batch.jobs[number] = replace(job, prompt=f"{job.prompt} {marker}")


def budgets(scenario: Scenario, dice: random.Random) -> None:
    for batch in scenario.batches:
        batch.budget = max(
            (batch.estimate * Decimal(dice.choice(("0.4", "0.8", "1", "2")))).quantize(Decimal(1)), Decimal(1)
        )


def low_balance(scenario: Scenario, dice: random.Random) -> None:
    total = sum((batch.estimate for batch in scenario.batches), Decimal(0))
    scenario.balance = (total * Decimal(dice.choice(("0", "0.3", "0.8")))).quantize(Decimal(1))


def someone_else_spends(scenario: Scenario, dice: random.Random) -> None:
    scenario.incidents += [Incident(_moment(dice), "others-spend") for _ in range(dice.choice((1, 3)))]


def account_caps(scenario: Scenario, dice: random.Random) -> None:
    total = sum((batch.estimate for batch in scenario.batches), Decimal(0))
    windows: tuple[Window, ...] = dice.choice((("daily",), ("monthly",), ("daily", "monthly")))
    for window in windows:
        cap = max((total * Decimal(dice.choice(("0.2", "0.5", "0.9")))).quantize(Decimal(1)), Decimal(1))
        scenario.caps[window] = dice.choice(((cap, "credits"), (cap * Decimal("0.0052"), "usd")))


def higher_prices(scenario: Scenario, dice: random.Random) -> None:
    scenario.prices = {dice.choice(IMAGES)[0]: Decimal(dice.choice(("0.5", "1.5", "3")))}
    for batch in scenario.batches:
        batch.price_tolerance = Decimal(dice.choice(("0", "0.1", "0.6")))


def canaries(scenario: Scenario, dice: random.Random) -> None:
    for batch in scenario.batches:
        batch.canary = dice.choice((1, 2))


def stopping_early(scenario: Scenario, dice: random.Random) -> None:
    for batch in scenario.batches:
        batch.stop_when_failed_over = Decimal(dice.choice(("0.05", "0.2", "0.5")))


def steering_hand(scenario: Scenario, dice: random.Random) -> None:
    for verb in dice.choice((("pause",), ("pause", "look"), ("cancel",), ("look", "look"))):
        scenario.incidents.append(Incident(_moment(dice), verb))


def retries(scenario: Scenario, dice: random.Random) -> None:
    scenario.retries = True


def restored_database(scenario: Scenario, dice: random.Random) -> None:
    """All processes stop, a backup is put back, and someone recovers what the receipts prove."""
    backed_up = _moment(dice)
    scenario.incidents.append(Incident(backed_up, "back-up"))
    scenario.incidents.append(Incident(backed_up + dice.choice((1.0, 10.0, HOUR)), "put-back"))


def chains(scenario: Scenario, dice: random.Random) -> None:
    """Films that go on from an earlier job's result, which someone may want to look at first."""
    if endless_work.__name__ in scenario.ingredients:
        return  # one job after the other takes longer than anyone waits
    model, price, seconds = VIDEO
    for batch in scenario.batches:
        for number, job in enumerate(batch.jobs):
            if number and dice.random() < 0.5:
                job = replace(job, model=model, credits=Decimal(price), seconds=seconds, need=dice.randrange(number))
            batch.jobs[number] = replace(job, has_gate=dice.random() < 0.2)


_WAYS_TO_PAY = (Payment.X402_BASE, Payment.X402_BASE, Payment.X402_SOLANA, Payment.X402_SOLANA, Payment.WALLET_BASE)
_OFFER_FAULTS = (
    "429",
    "500",
    "502-html",
    "html",
    "drop",
    "slow",
    "pay-to",
    "asset",
    "no-header",
    "not-json",
    "no-offers",
)
_PAYMENT_FAULTS = (
    "402-after-charge",
    "500-after-settlement",
    "late-settlement",
    "no-receipt",
    "garbled-receipt",
    "500-after-charge",
    "drop-after-charge",
    "drop-before-charge",
    "price",
)
_RPC_FAULTS = ("429", "500", "drop", "slow", "html", "garbage", "lagging")


def payment(scenario: Scenario, dice: random.Random) -> None:
    """USDC pays for it all: by the request or from a wallet's balance."""
    scenario.payment = dice.choice(_WAYS_TO_PAY)
    if not scenario.payment.is_direct:
        return
    scenario.ways = Ways(replays=dice.choice(("original", "refused")))
    for kind in dice.sample(_PAYMENT_FAULTS, dice.choice((0, 1, 2, 3))):
        scenario.rules.append(_rule(dice, "submit", kind, seconds=dice.choice((5.0, 100.0, 460.0))))
    for kind in dice.sample(_RPC_FAULTS, dice.choice((0, 0, 1, 3))):
        scenario.rules.append(_rule(dice, "rpc", kind, seconds=dice.choice((5.0, 100.0, HOUR))))
    if dice.random() < 0.2:  # what one endpoint says once is no proof
        scenario.rules.append(FaultRule(at="rpc", kind="lying", skip=dice.choice((0, 1, 2, 3, 5))))
    for kind in dice.sample(_OFFER_FAULTS, dice.choice((0, 0, 1, 2))):
        scenario.rules.append(_rule(dice, "offer", kind, seconds=dice.choice((5.0, 200.0))))
    if dice.random() < 0.2:
        scenario.rules.append(_rule(dice, "offer", "price", factor=Decimal(dice.choice(("1.05", "1.3", "3")))))
    if dice.random() < 0.1 and restored_database.__name__ not in scenario.ingredients:
        restored_database(scenario, dice)


def _rule(dice: random.Random, at: str, kind: str, **values: object) -> FaultRule:
    times = dice.choice((1, 1, 2, 5))
    probability = dice.choice((1.0, 0.5, 0.2))
    rule = {"at": at, "kind": kind, "times": times, "probability": probability, "skip": dice.choice((0, 0, 1, 3))}
    return FaultRule.model_validate(rule | {"seed": dice.randrange(1 << 30)} | values)


#: Each kind of trouble and how often it is in a scenario. The order is part of what a seed means.
INGREDIENTS: tuple[tuple[float, Ingredient], ...] = (
    (0.5, kills_at_points),
    (0.2, kills_at_any_time),
    (0.3, slow_restarts),
    (0.25, a_second_worker),
    (0.2, lost_commits),
    (0.1, database_outage),
    (0.15, lost_session),
    (0.15, stopped_process),
    (0.1, asked_to_stop),
    (0.25, bad_network),
    (0.15, provider_outage),
    (0.15, failing_destination),
    (0.35, faulty_submits),
    (0.15, slow_submits),
    (0.2, rate_limits),
    (0.05, refusals),
    (0.25, faulty_polls),
    (0.03, lost_requests),
    (0.25, faulty_assets),
    (0.05, hopeless_assets),
    (0.1, short_lived_assets),
    (0.1, slow_provider),
    (0.02, endless_work),
    (0.15, failing_jobs),
    (0.2, budgets),
    (0.1, low_balance),
    (0.1, someone_else_spends),
    (0.12, account_caps),
    (0.1, higher_prices),
    (0.1, canaries),
    (0.1, stopping_early),
    (0.15, steering_hand),
    (0.2, retries),
    (0.06, restored_database),
    (0.3, chains),
    (0.4, payment),
    (0.3, second_files),
)
