"""`plan`: what a manifest would cost."""

from decimal import Decimal
from pathlib import Path

from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.planner import plan as planner
from orchestrator.planner.result import Plan


def plan(manifest: Path, settings: Settings, *, max_credits: Decimal | None = None) -> Plan:
    """Validate and price a manifest. Spends nothing; needs no network, credentials or database."""
    catalog = load_catalog(settings.home)
    return planner.plan(manifest, catalog, usd_per_credit=settings.usd_per_credit, max_credits=max_credits)
