"""Plans made of text."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.planner.plan import Plan, plan


@pytest.fixture
def plan_text(tmp_path: Path) -> Callable[..., Plan]:
    """Plans the text of a manifest, against any catalogue."""

    def make(text: str, catalog: Catalog | None = None, **options: Any) -> Plan:
        path = tmp_path / "batch.yaml"
        path.write_text(text, encoding="utf-8")
        rate = options.pop("usd_per_credit", Decimal("0.0052"))
        return plan(path, catalog or bundled_catalog(), usd_per_credit=rate, **options)

    return make
