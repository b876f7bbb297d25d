"""docs/reliability.md names every fault and invariant, and nothing that is not there."""

import re
from pathlib import Path

import pytest

from ..chaos.mishaps import MISHAPS
from ..simulation.ingredients import INGREDIENTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
#: What may be named behind each word.
KINDS = {
    "simulation": {ingredient.__name__ for _, ingredient in INGREDIENTS},
    "chaos": {mishap.__name__ for mishap, _ in MISHAPS},
    "crash": {
        name.replace("{self._name}", post)
        for path in (ROOT / "orchestrator").rglob("*.py")
        for name in re.findall(r'faults\.point\(f?"([^"]+)"\)', path.read_text(encoding="utf-8"))
        for post in ("offer", "pay")  # with a payment, and without one yet
    },
}
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]


def named(kind: str) -> set[str]:
    return {name for names in re.findall(rf"`{kind}: ([^`]+)`", PAGE) for name in re.split(r",\s+", names)}


@pytest.mark.parametrize("kind", KINDS)
def test_it_names_all_that_there_is_and_nothing_else(kind: str) -> None:
    assert named(kind) == KINDS[kind]


def test_every_test_that_it_names_is_there() -> None:
    found = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert found
    for file, name in found:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(async )?def {name}\(", code, re.MULTILINE), name


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_all_faults_are_there_in_order_and_each_is_tried_or_comes_later() -> None:
    faults = [row for row in ROWS if re.fullmatch(r"F\d+", row[0])]
    assert [row[0] for row in faults] == [f"F{number}" for number in range(1, 51)]
    for number, _, holds, tried in faults:
        assert re.search(r"\bI\d+\b", holds) or holds == "all", number
        assert "`" in tried or tried.startswith("comes with "), number


def test_all_invariants_are_there_in_order() -> None:
    numbers = [row[0] for row in ROWS if re.fullmatch(r"I\d+", row[0])]
    assert numbers == [f"I{number}" for number in range(1, 12)]
