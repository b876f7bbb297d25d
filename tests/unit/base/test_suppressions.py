"""What tells a checker to be silent says about which rule, and why. Ruff and mypy find the ones that are not needed."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
MARK = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b")
EXPLAINED = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)* - |type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\]  # )\S")


def suppressions() -> Iterator[str]:
    for folder in ("orchestrator", "workers", "migrations", "scripts", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if MARK.search(line) and path != Path(__file__):
                    yield f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_every_suppression_names_its_rule_and_its_reason() -> None:
    found = list(suppressions())
    assert found
    assert [line for line in found if not EXPLAINED.search(line)] == []


def test_every_skipped_test_says_why() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for call in re.findall(r"mark\.(?:skipif|skip|xfail)\b(.*)", path.read_text(encoding="utf-8")):
            assert "reason=" in call, path
