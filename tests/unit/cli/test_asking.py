"""Who is asked before something is spent or settled, and who is taken at their word."""

import io
from typing import Any

import pytest
import typer

from orchestrator.base.errors import SpendRefused
from orchestrator.cli.asking import may_settle, may_spend
from orchestrator.cli.resolving import all_evidence_lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_on_a_terminal_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    for ask in (may_spend, may_settle):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert ask("this", yes=False) is agreed
        assert ask("this", yes=True)


def test_ctrl_c_at_a_question_stops_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Terminal, "readline", interrupted)
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(typer.Abort):
        may_spend("this", yes=False)


def test_a_script_has_said_what_to_settle_and_agrees_to_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert may_settle("this", yes=False)
    with pytest.raises(SpendRefused, match="no terminal to ask on"):
        may_spend("this", yes=False)


def test_the_evidence_of_many_is_told_in_short() -> None:
    balance: dict[str, Any] = {"finding": "wait", "reason": "it is too early", "baseline": None, "readings": []}
    known: list[dict[str, Any]] = [
        {"jobs": [f"mug-{n}"], "unit": "credits", "credits": "2", "sent_at": "now", "answer": None, "balance": balance}
        for n in range(12)
    ]
    lines = [line.plain for line in all_evidence_lines(known)]
    assert lines[0] == "evidence: mug-0: sent at now for 2 credits; what came back: nothing"
    assert lines[10:] == ["evidence: and 2 other submissions", "evidence: the balance does not tell: it is too early"]
