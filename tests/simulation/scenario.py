"""What a simulation is made of: batches, and what goes wrong around them. Plain data."""

from dataclasses import dataclass, field
from decimal import Decimal

from orchestrator.base.payments import Payment
from orchestrator.engine.local import Tempo
from orchestrator.sandbox import FaultRule, Ways
from orchestrator.store.budgets import Window

from .network import Fate

HOUR = 3600.0
#: Models and what they cost: images, and a film of so many seconds.
IMAGES = (("gen", "3"), ("ani", "2"), ("muse", "3"))
VIDEO = ("ltx-2-3", "20", 5)


@dataclass(frozen=True, slots=True)
class JobDraft:
    """One job: its model decides what it costs; a marker in the prompt decides how it ends at the provider.

    A film may go on from the result of the job with the ordinal `need`.
    """

    model: str
    credits: Decimal
    prompt: str
    seconds: int | None = None
    need: int | None = None
    has_gate: bool = False


@dataclass(slots=True)
class BatchDraft:
    jobs: list[JobDraft]
    bundle: int = 1
    budget: Decimal | None = None
    price_tolerance: Decimal = Decimal(0)
    canary: int | None = None
    stop_when_failed_over: Decimal | None = None

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
    """A world to be: what is to be made, and what goes wrong. All amounts are in credits, whoever pays."""

    seed: int
    batches: list[BatchDraft]
    payment: Payment = Payment.CREDITS
    #: What the guide leaves open of payments.
    ways: Ways = field(default_factory=Ways)
    workers: int = 1
    balance: Decimal = Decimal(100_000)
    time_scale: float = 1.0
    asset_lifetime_seconds: float = 72 * HOUR
    max_in_flight: int = 64
    rules: list[FaultRule] = field(default_factory=list)
    odds: dict[Fate, float] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    #: Caps of the account: an amount and its unit a UTC day and month.
    caps: dict[Window, tuple[Decimal, str]] = field(default_factory=dict)
    #: What the provider charges, as a factor of what the catalogue says, by model.
    prices: dict[str, Decimal] = field(default_factory=dict)
    #: Whether the person runs failed jobs again in the end.
    retries: bool = False
    #: The odds at each fault point that the process dies there, and how often in all.
    kill_odds: float = 0.0
    kills: int = 0
    #: The odds at each commit that the connection is lost before or after it.
    commit_odds: float = 0.0
    restart_seconds: float = 5.0
    tempo: Tempo = field(default_factory=lambda: Tempo(ask=60.0, settle=10.0, rescue=30.0))
    #: Once nothing goes wrong any more, all work has to be over within this much virtual time.
    patience_seconds: float = 100 * HOUR
    ingredients: list[str] = field(default_factory=list)
