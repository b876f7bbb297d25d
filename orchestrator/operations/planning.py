"""`plan`: what a manifest would cost, and a plan kept in a file to be run later exactly as it was seen."""

import os
import secrets
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path

from orchestrator.assets.remote import S3Inputs
from orchestrator.base.errors import ManifestError, UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.planner import plan as planner
from orchestrator.planner.replan import replan
from orchestrator.planner.result import Plan
from orchestrator.planner.saved import is_saved_plan, saved_plan_text


def plan(file: Path, settings: Settings, *, max_credits: Decimal | None = None, canary: int | None = None) -> Plan:
    """Validate and price a manifest or a saved plan. Spends nothing; needs no credentials of the provider, no database
    and, but for what is on S3, no network.

    `max_credits` and `canary` are what the command line says about them.
    """
    make = replan if is_saved_plan(file) else partial(planner.plan, remote=S3Inputs(settings.home / "inputs"))
    catalog = load_catalog(settings.home)
    return make(file, catalog, usd_per_credit=settings.usd_per_credit, max_credits=max_credits, canary=canary)


def require_valid(planned: Plan, consequence: str = "") -> None:
    """Raises ManifestError, whose message ends with `consequence`, unless the plan may be run."""
    if not planned.valid:
        count = len(planned.errors)
        raise ManifestError(
            f"{planned.file} has {count} error{'s' if count > 1 else ''}{consequence}",
            document=planned.document(),
            only_money=planned.only_money,
        )


def save_plan(planned: Plan, target: Path) -> None:
    """Keep a manifest's plan at `target`, for `plan` and `submit` to read; a crash leaves no half of a file.

    Raises ManifestError for an invalid plan, and UsageError where `target` is something else already or cannot be
    written.
    """
    require_valid(planned, "; no plan was saved")
    if is_saved_plan(Path(planned.file)):
        raise UsageError(f"{planned.file} is a saved plan already", hint="plan the manifest to save it anew")
    if target.exists() and not is_saved_plan(target):
        raise UsageError(f"{target} is there and is no saved plan; it is left as it is", hint="choose another name")
    try:
        _write(saved_plan_text(planned), target)
    except (OSError, ValueError) as error:
        raise UsageError(f"{target} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _write(data: bytes, target: Path) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
