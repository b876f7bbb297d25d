"""Which calls a fault rule strikes."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestrator.sandbox.faults import KINDS, FaultPlayer, FaultRule, Faults


def strikes(rule: FaultRule, calls: int, text: str = "") -> list[bool]:
    player = FaultPlayer(Faults.of(rule))
    return [player.strike(rule.at, text) is not None for _ in range(calls)]


def test_a_rule_strikes_so_many_times_after_letting_some_pass() -> None:
    assert strikes(FaultRule(at="poll", kind="500", times=2, skip=1), 5) == [False, True, True, False, False]


def test_without_a_count_it_strikes_for_ever() -> None:
    assert all(strikes(FaultRule(at="poll", kind="500", times=None), 50))


def test_a_seeded_die_falls_the_same_way_each_time() -> None:
    rule = FaultRule(at="asset", kind="empty", times=None, probability=0.5, seed=7)
    first = strikes(rule, 100)
    assert first == strikes(rule, 100)
    assert 20 < sum(first) < 80


def test_match_narrows_a_rule_and_the_place_must_be_the_same() -> None:
    rule = FaultRule(at="submit", kind="429", match="mug")
    assert strikes(rule, 1, text="a red mug") == [True]
    assert strikes(rule, 1, text="a cup") == [False]
    assert FaultPlayer(Faults.of(rule)).strike("poll", "mug") is None


def test_the_first_rule_that_strikes_decides_and_counts_are_told() -> None:
    player = FaultPlayer(Faults.of(FaultRule(at="poll", kind="404"), FaultRule(at="poll", kind="500")))
    kinds = [rule.kind if rule else None for rule in (player.strike("poll", "") for _ in range(3))]
    assert kinds == ["404", "500", None]
    assert [rule["struck"] for rule in player.document()] == [1, 1]


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected one of"):
        FaultRule(at="poll", kind="502-html")


def test_the_manual_names_every_fault() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()
    rows = {
        cells[1].strip(" `"): cells[-2]
        for line in manual.splitlines()
        if (cells := line.split("|"))[1:] and cells[1].strip(" `") in KINDS
    }
    assert set(rows) == set(KINDS)
    rows["top-up"] = rows["submit"].replace("`partial-failure`", "")
    assert {place: set(re.findall(r"`([^`]+)`", words)) for place, words in rows.items()} == KINDS
