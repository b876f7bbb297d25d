"""What happens in a simulation: drawn from the seed, ingredient by ingredient.

To add a kind of trouble, write a function that takes a draft and the dice, and list it in `INGREDIENTS` with its
odds. To add a feature, do the same: an ingredient may change batches as well as the world around them.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from orchestrator.engine.local import Tempo
from orchestrator.sandbox.faults import FaultRule

from .network import Fate

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class JobDraft:
    """One job: its model decides what it costs; a marker in the prompt decides how it ends at the provider."""

    model: str
    credits: Decimal
    prompt: str
    seconds: int | None = None


@dataclass(slots=True)
class BatchDraft:
    jobs: list[JobDraft]
    bundle: int = 1
    budget: Decimal | None = None

    @property
    def estimate(self) -> Decimal:
        return sum((job.credits for job in self.jobs), Decimal(0))


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happens to the world at an instant, for a while (virtual seconds)."""

    at: float
    kind: str
    seconds: float = 0.0


@dataclass(slots=True)
class Scenario:
    """A world to be: what is to be made, and what goes wrong."""

    seed: int
    batches: list[BatchDraft]
    workers: int = 1
    balance: Decimal = Decimal(100_000)
    time_scale: float = 1.0
    asset_lifetime_seconds: float = 72 * HOUR
    max_in_flight: int = 64
    rules: list[FaultRule] = field(default_factory=list)
    odds: dict[Fate, float] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    #: The odds at each fault point that the process dies there, and how often in all.
    kill_odds: float = 0.0
    kills: int = 0
    #: The odds at each commit that the connection is lost before or after it.
    commit_odds: float = 0.0
    restart_seconds: float = 5.0
    tempo: Tempo = field(default_factory=lambda: Tempo(ask=10.0, settle=1.0, rescue=5.0))
    #: Once nothing goes wrong any more, all work has to be over within this much virtual time.
    patience_seconds: float = 100 * HOUR
    ingredients: list[str] = field(default_factory=list)


Ingredient = Callable[[Scenario, random.Random], None]

_IMAGES = (("gen", "3"), ("ani", "2"), ("muse", "3"))
_VIDEO = ("ltx-2-3", "20", 5)


def draw_scenario(seed: int) -> Scenario:
    """The scenario of a seed: always the same one."""
    dice = random.Random(f"scenario {seed}")
    numbers = iter(range(1000))
    scenario = Scenario(seed, [_batch(dice, numbers) for _ in range(dice.choice((1, 1, 1, 2, 2, 3)))])
    scenario.max_in_flight = dice.choice((1, 2, 4, 64))
    for odds, ingredient in INGREDIENTS:
        if dice.random() < odds:
            ingredient(scenario, dice)
            scenario.ingredients.append(ingredient.__name__)
    return scenario


def _batch(dice: random.Random, numbers: Iterator[int]) -> BatchDraft:
    jobs = []
    for _ in range(dice.choice((1, 2, 3, 4, 5, 6, 8, 12))):
        prompt = f"A thing #{next(numbers)}#"
        if dice.random() < 0.08:
            model, price, seconds = _VIDEO
            jobs.append(JobDraft(model, Decimal(price), prompt, seconds))
        else:
            model, price = dice.choice(_IMAGES)
            jobs.append(JobDraft(model, Decimal(price), prompt))
    return BatchDraft(jobs, bundle=dice.choice((1, 1, 1, 2, 4)))


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
)
