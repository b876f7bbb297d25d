"""What a scenario says, made into what the orchestrator works with: batches in rows, and the provider's price list."""

from decimal import Decimal
from typing import Any

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog, ImageModel
from orchestrator.payments.credits import payer_of
from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox.accounts import account_name
from orchestrator.store import accounts, caps, creating
from orchestrator.store.accounts import Scope
from orchestrator.store.caps import Limit
from orchestrator.store.database import Connection

from .disk import Disk
from .scenario import BatchDraft, JobDraft, Scenario
from .site import API_ORIGIN

KEY, SECRET = "simulated-key-5f1c", "simulated-secret-9a77"
PAYER = payer_of(KEY, SECRET)
#: The account's name at the provider.
ACCOUNT = account_name(KEY, SECRET)


def make_batches(connection: Connection, scenario: Scenario, disk: Disk) -> Scope:
    """Store the scenario's batches and caps; the scope of all its work."""
    account_pk = accounts.account_pk(connection, API_ORIGIN, PAYER.account)
    if scenario.caps:
        caps.set_caps(connection, account_pk, {window: Limit(*cap) for window, cap in scenario.caps.items()})
    ids = []
    for number, draft in enumerate(scenario.batches):
        ids.append(f"things-20261122-{number:04}")
        creating.create_batch(connection, _new_batch(ids[-1], f"things-{number}", account_pk, draft, disk))
    return Scope(account_pk, tuple(ids))


def _new_batch(batch_id: str, name: str, account_pk: int, draft: BatchDraft, disk: Disk) -> creating.NewBatch:
    return creating.NewBatch(
        id=batch_id,
        name=name,
        sandbox=False,
        account_pk=account_pk,
        destination=disk.destination,
        media=disk.media,
        key="{name}/{job}/{index}-{sha8}{ext}",
        bundle=draft.bundle,
        labels={},
        manifest="things.yaml",
        catalog=bundled_catalog(),
        estimated=draft.estimate,
        budget=draft.budget,
        usd_per_credit=Decimal("0.0052"),
        price_tolerance=draft.price_tolerance,
        canary=draft.canary,
        stop_when_failed_over=draft.stop_when_failed_over,
        jobs=[_planned(n, job, draft) for n, job in enumerate(draft.jobs)],
    )


def _planned(ordinal: int, job: JobDraft, draft: BatchDraft) -> PlannedJob:
    item: dict[str, Any] = {"model": job.model, "prompt": job.prompt, "aspect_ratio": "1:1"}
    needs: tuple[str, ...] = ()
    if job.seconds is None:
        item |= {"type": "image", "output_format": "png"}
    else:
        item |= {"type": "video", "duration_seconds": job.seconds}
    if job.need is not None:
        needs = (f"job-{job.need}",)
        use = "original" if draft.jobs[job.need].seconds is None else "final_frame"
        item["video_image_data"] = {"first_frame_image_url": {"$from": needs[0], "use": use}}
    return PlannedJob(
        ordinal=ordinal,
        id=f"job-{ordinal}",
        type=item["type"],
        model=job.model,
        item=item,
        labels={},
        estimate=job.credits,
        needs=needs,
        has_gate=job.has_gate,
    )


def price_list(scenario: Scenario) -> Catalog:
    """What the provider itself charges by."""
    catalog = bundled_catalog()
    changed = {
        name: model.model_copy(update={"credits": model.credits * scenario.prices[name]})
        for name, model in catalog.models.items()
        if name in scenario.prices and isinstance(model, ImageModel)
    }
    return catalog.model_copy(update={"models": catalog.models | changed})
