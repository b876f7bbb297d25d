"""What jobs cost where USDC pays for them: their work, and what each signed payment needs to be settled. Pure.

Images and videos cost their model's USDC price, texts their reserve; the network's fee of settling comes on top of each
payment (guide, "x402 details").
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Protocol

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import ATOMIC, USDC_PER_CREDIT, Payment, Unit, settlement_share
from orchestrator.catalog.models import AnyModel, Catalog, ImageModel, VideoModel

TEXT = "text"


class PricedJob(Protocol):
    """A job with its catalogue price in credits; one without a fingerprint and a price will never be sent."""

    @property
    def type(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def estimate(self) -> Decimal: ...
    @property
    def fingerprint(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class UsdcPrice:
    """USDC for the work itself, and what is set aside for settling its payments."""

    work: Decimal = ZERO
    settlement: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.work + self.settlement

    def document(self) -> dict[str, str]:
        """The `usdc` of an estimate."""
        return {
            "work": canonical(self.work),
            "settlement": canonical(self.settlement),
            "total": canonical(self.total),
        }


def work_usdc(model: AnyModel | None, credit_price: Decimal) -> Decimal:
    """The USDC of work that costs so many credits: as the catalogue lists it, else by the reference price of a credit.

    Rounded up to an atomic unit.
    """
    listed = [usd for credits_, usd in _listed(model) if credits_ == credit_price]
    return max(listed, default=credit_price * USDC_PER_CREDIT).quantize(ATOMIC, ROUND_UP)


def _listed(model: AnyModel | None) -> list[tuple[Decimal, Decimal]]:
    """The prices that a model has in both credits and US dollars; a text's depend on its length."""
    match model:
        case ImageModel(usd=Decimal() as usd):
            return [(model.credits, usd)]
        case VideoModel():
            both = model.credits_by_duration.keys() & model.usd_by_duration.keys()
            return [(model.credits_by_duration[seconds], model.usd_by_duration[seconds]) for seconds in both]
        case _:
            return []


def usdc_price(
    payment: Payment,
    bundle: int,
    catalog: Catalog,
    *,
    type: str,  # noqa: A002 - the job's
    model: str,
    credit_price: Decimal,
) -> UsdcPrice:
    """What one job costs that costs so many credits by the catalogue.

    Where each request carries a payment, a share of its settlement is set aside for each of its `bundle` jobs; a text
    is always alone in its request.
    """
    settlement = settlement_share(bundle, type) if payment.is_direct else ZERO
    return UsdcPrice(work_usdc(catalog.get(model), credit_price), settlement)


def total_usdc(jobs: Iterable[PricedJob], payment: Payment, bundle: int, catalog: Catalog) -> UsdcPrice:
    """What all of them cost together."""
    alike = Counter((job.type, job.model, job.estimate) for job in jobs if is_payable(job))
    work = settlement = ZERO
    for (type_, model, credit_price), count in alike.items():
        one = usdc_price(payment, bundle, catalog, type=type_, model=model, credit_price=credit_price)
        work += one.work * count
        settlement += one.settlement * count
    return UsdcPrice(work, settlement)


def price_in_unit(
    payment: Payment,
    bundle: int,
    catalog: Catalog,
    *,
    type: str,  # noqa: A002 - the job's
    model: str,
    credit_price: Decimal,
) -> Decimal:
    """What is set aside for a job that costs so many credits by the catalogue, in the unit of `payment`."""
    if payment.unit is Unit.CREDITS:
        return credit_price
    return usdc_price(payment, bundle, catalog, type=type, model=model, credit_price=credit_price).total


def amount_of(job: PricedJob, payment: Payment, bundle: int, catalog: Catalog) -> Decimal:
    """What is set aside for a planned job, in the unit of `payment`."""
    if not is_payable(job):
        return ZERO
    return price_in_unit(payment, bundle, catalog, type=job.type, model=job.model, credit_price=job.estimate)


def is_payable(job: PricedJob) -> bool:
    """Whether the job may ever be sent: one that needs a job that is left out has neither fingerprint nor price."""
    return job.fingerprint is not None or job.estimate > 0
