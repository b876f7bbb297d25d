"""What readings say about money in doubt: to the second, to the tenth of a credit, and never too much."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.evidence import GAP_SECONDS, Finding, document, judge, unexplained
from orchestrator.store.doubts import POST_SECONDS, SETTLING_SECONDS, Doubt, Situation, Told

SENT_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
RIPE_AT = SENT_AT + timedelta(seconds=POST_SECONDS + SETTLING_SECONDS)
BASELINE = Told(SENT_AT - timedelta(seconds=1), Decimal(100))


def after(seconds: float) -> datetime:
    return RIPE_AT + timedelta(seconds=seconds)


def told(seconds: float, amount: str, charged: str = "0") -> Told:
    return Told(after(seconds), Decimal(amount), Decimal(charged))


def known(
    *readings: Told, seconds: float = 60, doubtful: tuple[str, ...] = ("14",), is_open: bool = False
) -> Situation:
    doubts = tuple(Doubt(uuid4(), "batch", Decimal(amount), SENT_AT) for amount in doubtful)
    return Situation(after(seconds), doubts, is_open, BASELINE, readings)


@pytest.mark.parametrize(
    ("situation", "finding", "look_at"),
    [
        (known(seconds=-1), Finding.WAIT, RIPE_AT),
        (known(seconds=0), Finding.READ, RIPE_AT),
        (known(is_open=True), Finding.WAIT, None),
        (known(told(-1, "100")), Finding.READ, after(60)),
        (known(told(0, "100")), Finding.READ, after(GAP_SECONDS)),
        (known(told(0, "100"), told(29.9, "100")), Finding.READ, after(GAP_SECONDS)),
        (known(told(0, "100"), told(30, "100")), Finding.NOT_CHARGED, None),
        (known(told(0, "86"), told(30, "86")), Finding.CHARGED, None),
        (known(told(0, "86"), told(30, "80", charged="6")), Finding.CHARGED, None),
        (known(told(0, "86"), told(30, "80")), Finding.OPEN, None),
        (known(told(0, "100"), told(30, "86")), Finding.OPEN, None),
        (known(told(0, "99.9")), Finding.OPEN, None),
        (known(told(0, "101")), Finding.OPEN, None),
        (known(told(0, "93"), told(30, "93"), doubtful=("7", "14")), Finding.OPEN, None),
        (known(told(0, "79"), told(30, "79"), doubtful=("7", "14")), Finding.CHARGED, None),
        (known(told(0, "100"), told(30, "100"), doubtful=("0",)), Finding.NOT_CHARGED, None),
    ],
)
def test_what_is_found_and_when_to_look_again(situation: Situation, finding: Finding, look_at: datetime | None) -> None:
    judgement = judge(situation)
    assert (judgement.finding, judgement.look_at) == (finding, look_at)


amounts = st.decimals(min_value=0, max_value=30, places=1)
#: Seconds since it is ripe, how much of what is in doubt is gone, and what was charged for others meanwhile.
any_reading = st.tuples(st.floats(-100, 200), st.sampled_from([0, 1, 1, Decimal("0.5")]), amounts)


@given(doubtful=st.lists(amounts, min_size=1, max_size=3), read=st.lists(any_reading, max_size=4))
def test_nothing_is_settled_without_proof(doubtful: list[Decimal], read: list[tuple[float, Decimal, Decimal]]) -> None:
    total = sum(doubtful)
    readings = [
        told(seconds, str(100 - total * share - charged), str(charged)) for seconds, share, charged in sorted(read)
    ]
    situation = known(*readings, seconds=200, doubtful=tuple(map(str, doubtful)))
    finding = judge(situation).finding
    if finding in (Finding.CHARGED, Finding.NOT_CHARGED):
        ripe = [reading for reading in readings if reading.at >= RIPE_AT]
        assert (ripe[-1].at - ripe[0].at).total_seconds() >= GAP_SECONDS
        expected = total if finding is Finding.CHARGED else 0
        assert {unexplained(situation, reading) for reading in ripe} == {expected}


def test_the_evidence_names_every_time_and_amount() -> None:
    situation = known(told(0, "86"), told(30, "82.5", charged="3.5"))
    written = document(situation, judge(situation))
    assert written["finding"] == "charged"
    assert written["baseline"] == {"at": "2026-11-22T11:59:59.000Z", "credits": "100"}
    assert written["in_doubt"] == "14"
    assert written["submissions"][0]["sent_at"] == "2026-11-22T12:00:00.000Z"
    assert written["readings"][1] == {
        "at": "2026-11-22T12:20:30.000Z",
        "credits": "82.5",
        "charged_since_baseline": "3.5",
        "unexplained": "14",
    }
