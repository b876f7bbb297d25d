"""`plan`: what a manifest would cost."""

from decimal import Decimal
from pathlib import Path

from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.planner import plan as planner
from orchestrator.planner.result import Plan


def plan(manifest: Path, settings: Settings, *, max_credits: Decimal | None = None, canary: int | None = None) -> Plan:
    """Validate and price a manifest. Spends nothing; needs no network, credentials or database.

    `max_credits` and `canary` are what the command line says about them.
    """
    catalog = load_catalog(settings.home)
    rate = settings.usd_per_credit
    return planner.plan(manifest, catalog, usd_per_credit=rate, max_credits=max_credits, canary=canary)
