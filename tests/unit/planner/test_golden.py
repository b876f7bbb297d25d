"""Golden manifests: `ok/*` have no errors, `err/*` exactly the lines of their `.out`. A new case is two files.

Warnings count, too: an ok case with warnings has an `.out`, one without has none.
After a deliberate change, rewrite the outputs with `python tests/unit/planner/test_golden.py` and read the diff.
"""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.plan import Plan, plan

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def cases(folder: str) -> list[Path]:
    return sorted(path for path in (GOLDEN / folder).iterdir() if path.suffix != ".out")


def planned(path: Path) -> Plan:
    return plan(path, bundled_catalog(), usd_per_credit=Decimal("0.0052"))


def rendered(path: Path) -> str:
    result = planned(path)
    lines = [replace(error, file=path.name).render("error") for error in result.errors]
    lines += [replace(warning, file=path.name).render("warning") for warning in result.warnings]
    return "".join(f"{line}\n" for line in lines)


def output_of(path: Path) -> Path:
    return path.with_name(path.name + ".out")


@pytest.mark.parametrize("path", cases("ok"), ids=lambda path: path.name)
def test_valid_manifest(path: Path) -> None:
    expected = output_of(path).read_text() if output_of(path).exists() else ""
    assert planned(path).valid
    assert rendered(path) == expected


@pytest.mark.parametrize("path", cases("err"), ids=lambda path: path.name)
def test_invalid_manifest(path: Path) -> None:
    assert not planned(path).valid
    assert rendered(path) == output_of(path).read_text()


NOT_IN_THE_CATALOGUE = {Code.FIRST_FRAME_UNSUPPORTED, Code.REFERENCE_FF_ONLY, Code.AUDIO_NEEDS_REFERENCE_IMAGE}
"""No bundled model lists these; `test_rules.py` has models that do."""
OF_SAVED_PLANS = {Code.PRICE_CHANGED, Code.MEDIA_CHANGED, Code.MANIFEST_CHANGED}
"""No manifest has these; `test_saved.py` shows them."""
OF_DECISIONS = {Code.UNKNOWN_BATCH, Code.UNKNOWN_JOB, Code.ASSET_CHANGED}
"""Nor these; `tests/integration/test_reviews.py` shows them."""


def test_every_code_has_a_case() -> None:
    outputs = "".join(output.read_text() for output in GOLDEN.glob("*/*.out"))
    shown = {code for code in Code if f"[{code}]" in outputs}
    assert set(Code) - shown == NOT_IN_THE_CATALOGUE | OF_SAVED_PLANS | OF_DECISIONS


def _rewrite() -> None:
    for path in cases("ok") + cases("err"):
        lines = rendered(path)
        if lines:
            output_of(path).write_text(lines)
        else:
            output_of(path).unlink(missing_ok=True)


if __name__ == "__main__":
    _rewrite()
