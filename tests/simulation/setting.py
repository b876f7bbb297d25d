"""What a scenario says, made into what the orchestrator works with: batches in rows, and the provider's price list."""

from decimal import ROUND_UP, Decimal
from typing import Any

from solders.keypair import Keypair

from orchestrator.base.money import ZERO
from orchestrator.base.payments import ATOMIC, USDC_PER_CREDIT, Payment, Unit
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog, ImageModel
from orchestrator.payments.payer import Payer
from orchestrator.planner.result import PlannedJob
from orchestrator.planner.usdc import amount_of
from orchestrator.sandbox.accounts import account_name
from orchestrator.sandbox.customers import wallet
from orchestrator.store import accounts, caps, creating
from orchestrator.store.accounts import Scope
from orchestrator.store.caps import Limit
from orchestrator.store.database import Connection

from .disk import Disk
from .scenario import BatchDraft, JobDraft, Scenario
from .site import API_ORIGIN

KEY, SECRET = "simulated-key-5f1c", "simulated-secret-9a77"
#: Keys of nobody's wallets.
EVM_KEY = "5a" * 32
SVM_KEY = str(Keypair.from_seed(bytes(range(32))))


def account_at_provider(payer: Payer) -> str | None:
    """The name of the balance that pays, at the provider; None where each request carries its own payment."""
    if payer.payment.is_direct:
        return None
    if payer.wallet is None:
        return account_name(KEY, SECRET)
    return wallet(payer.wallet.network, payer.wallet.address).account


def in_unit(payment: Payment, credit_amount: Decimal) -> Decimal:
    """About as much as so many credits, in the unit of who pays."""
    if payment.unit is Unit.CREDITS:
        return credit_amount
    return (credit_amount * USDC_PER_CREDIT).quantize(ATOMIC, ROUND_UP)


def make_batches(connection: Connection, scenario: Scenario, payer: Payer, disk: Disk) -> Scope:
    """Store the scenario's batches and caps; the scope of all its work."""
    account_pk = accounts.account_pk(connection, API_ORIGIN, payer.account, payer.payment.unit)
    made = []
    for number, draft in enumerate(scenario.batches):
        made.append(_new_batch(f"things-20261122-{number:04}", f"things-{number}", account_pk, draft, payer, disk))
        creating.create_batch(connection, made[-1])
    if scenario.caps:
        estimated = sum((batch.estimated for batch in made), ZERO)
        planned = sum((draft.estimate for draft in scenario.batches), ZERO)
        limits = {window: _limit(payer.payment, cap, estimated / planned) for window, cap in scenario.caps.items()}
        caps.set_caps(connection, account_pk, limits)
    return Scope(account_pk, tuple(batch.id for batch in made))


def _limit(payment: Payment, cap: tuple[Decimal, str], rate: Decimal) -> Limit:
    """A cap of a scenario, which is one in credits (or their price in dollars), for the account that pays."""
    amount, unit = cap
    if payment.unit is Unit.CREDITS:
        return Limit(amount, "credits" if unit == "credits" else "usd")
    in_credits = amount if unit == "credits" else amount / USDC_PER_CREDIT
    return Limit((in_credits * rate).quantize(ATOMIC, ROUND_UP), "usdc")


def _new_batch(
    batch_id: str, name: str, account_pk: int, draft: BatchDraft, payer: Payer, disk: Disk
) -> creating.NewBatch:
    catalog, payment = bundled_catalog(), payer.payment
    planned = [_planned(n, job, draft) for n, job in enumerate(draft.jobs)]
    estimated = sum((amount_of(job, payment, draft.bundle, catalog) for job in planned), ZERO)
    rate = estimated / draft.estimate
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
        catalog=catalog,
        estimated=estimated,
        budget=None if draft.budget is None else (draft.budget * rate).quantize(ATOMIC, ROUND_UP),
        usd_per_credit=USDC_PER_CREDIT if payment.unit is Unit.CREDITS else Decimal(1),
        price_tolerance=draft.price_tolerance,
        canary=draft.canary,
        stop_when_failed_over=draft.stop_when_failed_over,
        jobs=planned,
        payment=payment,
        work_credits=None if payment.unit is Unit.CREDITS else draft.estimate,
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
        name: model.model_copy(update=_dearer(model, scenario.prices[name]))
        for name, model in catalog.models.items()
        if name in scenario.prices and isinstance(model, ImageModel)
    }
    return catalog.model_copy(update={"models": catalog.models | changed})


def _dearer(model: ImageModel, factor: Decimal) -> dict[str, Decimal | None]:
    usd = None if model.usd is None else (model.usd * factor).quantize(ATOMIC, ROUND_UP)
    return {"credits": model.credits * factor, "usd": usd}
