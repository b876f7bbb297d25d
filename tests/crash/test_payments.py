"""SIGKILL around signed payments: each request is paid once, by the payment that was signed for it.

Nothing is in doubt in the end: whoever comes next sends the very same payment again. A balance is charged once, too:
what it was charged for is found in the list of its transactions.
"""

import random
from collections.abc import Callable
from functools import cache, partial

import pytest

from orchestrator.base.payments import Payment
from orchestrator.store.embedded import EmbeddedPostgres

from .arena import SUBMIT, Things, new_trial
from .conftest import TOLD
from .test_every_boundary import (
    FIRST_DEATHS,
    SECOND_DEATHS,
    SEED,
    Tell,
    counted,
    die_twice,
    live_locally,
    live_with_celery,
    redis_url,
)
from .victim import Boundary
from .visiting import ALL, Tour, all_boundaries

__all__ = ["redis_url"]  # a fixture

_JOBS: tuple[dict[str, object], ...] = (
    {"id": "still", "model": "gen", "prompt": "A thing", "output_format": "png"},
    {"id": "failure", "model": "gen", "prompt": "No thing [sandbox:fail]", "output_format": "png"},
)
_RESULTS = {"still": "completed", "failure": "failed"}
PAID = {payment: Things(_JOBS, _RESULTS, payment=payment) for payment in Payment}
#: Where it is decided whether something is paid: of each, `make test` visits the first.
_TELLING = {
    Payment.X402_BASE: ("offer.sent", "signed", "has signed", "pay.request", "pay.sent", "pay.answered", "settles"),
    Payment.X402_SOLANA: ("has signed", "pay.sent", "pay.answered", "has settled"),
    Payment.WALLET_BASE: ("pay.sent", "pay.answered"),
}

pytestmark = pytest.mark.timeout(1800)
Visits = Callable[[Payment], dict[str, int]]


@pytest.fixture(scope="session")
def paid_visits(postgres: EmbeddedPostgres) -> Visits:
    """How often the local driver visits each boundary when it pays this way."""

    @cache
    def visits(payment: Payment) -> dict[str, int]:
        with new_trial(postgres.url, PAID[payment]) as trial:
            return counted(trial, trial.run(SUBMIT))

    return visits


def _telling(payment: Payment, everything: list[Boundary]) -> list[Boundary]:
    """The commits that a signed payment is stored and ended by, and what stands around the sending."""
    commits = {
        "signed": ("db.commit ", "insert payment"),
        "has signed": ("db.committed ", "insert payment"),
        "settles": ("db.commit ", "update payment"),
        "has settled": ("db.committed ", "update payment"),
    }
    wanted = [commits.get(word, (word, "")) for word in _TELLING[payment]]
    return [next(each for each in everything if each.name.startswith(at) and of in each.name) for at, of in wanted]


@pytest.mark.parametrize("payment", _TELLING)
def test_a_payment_that_dies_is_paid_once(
    postgres: EmbeddedPostgres, paid_visits: Visits, payment: Payment, record_property: Tell
) -> None:
    everything = all_boundaries(paid_visits(payment))
    tour = Tour(partial(new_trial, postgres.url, PAID[payment]), live_locally)
    tour.visit(everything if ALL else _telling(payment, everything))
    record_property(TOLD, f"{payment}: {tour.summary()} of {len(everything)}")
    tour.check()
    if ALL:
        tour.check_all_reached()
    else:
        assert not tour.missed


@pytest.mark.redis
@pytest.mark.parametrize("payment", [Payment.X402_BASE, *([Payment.X402_SOLANA, Payment.WALLET_BASE] if ALL else [])])
def test_a_worker_that_dies_pays_once(
    postgres: EmbeddedPostgres, redis_url: str, payment: Payment, record_property: Tell
) -> None:
    tour = Tour(partial(new_trial, postgres.url, PAID[payment], ORCHESTRATOR_BROKER_URL=redis_url), live_with_celery)
    tour.visit([Boundary(point, 1) for point in ("pay.sent", *(["pay.request", "pay.answered"] if ALL else []))])
    record_property(TOLD, f"{payment} under celery: {tour.summary()}")
    tour.check()
    assert not tour.missed


@pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.X402_SOLANA])
@pytest.mark.parametrize("number", range(FIRST_DEATHS // 2 if ALL else 0))
def test_a_payment_that_dies_twice_is_paid_once(
    postgres: EmbeddedPostgres, paid_visits: Visits, payment: Payment, number: int, record_property: Tell
) -> None:
    dice = random.Random(f"{SEED} {payment} {number}")
    first = dice.choice(all_boundaries(paid_visits(payment)))
    new = partial(new_trial, postgres.url, PAID[payment])
    with new() as trial:
        trial.run(SUBMIT, first)
        found = all_boundaries(counted(trial, trial.restart()))
    tour = Tour(new, partial(die_twice, first))
    tour.visit(dice.sample(found, min(len(found), SECOND_DEATHS)))
    chosen = ", ".join(map(str, tour.reached + tour.missed))
    record_property(TOLD, f"pairs   {payment}: {first}, then {chosen}: {tour.summary()} (CRASH_SEED={SEED})")
    tour.check()
