"""`models`: what there is to choose from, and what changed."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from orchestrator.base.errors import Unusable, UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.cache import load_catalog, save_catalog
from orchestrator.catalog.changes import Change, changes
from orchestrator.catalog.models import AnyModel, Catalog, ImageModel, TextModel, VideoModel
from orchestrator.catalog.refresh import read_models
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.payments.credits import credits_payer

ModelType = Literal["image", "video", "text"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which models to list; everything that is not None must hold.

    `feature` is a part of what the guide lists as a model's features ("first frame", "audio", "vision").
    `max_credits` is held against a model's lowest price: of an image, of a video's cheapest duration, of a
    million input tokens.
    """

    name: str | None = None
    type: ModelType | None = None
    feature: str | None = None
    max_credits: Decimal | None = None


def catalogue(settings: Settings) -> Catalog:
    """The catalogue in use: the last good copy of the provider's, else the bundled one."""
    return load_catalog(settings.home)


def select(catalog: Catalog, wanted: Filter) -> list[AnyModel]:
    """The models that `wanted` describes, by type and name. Raises UsageError for a name that is not there."""
    if wanted.name is not None and catalog.get(wanted.name) is None:
        raise UsageError(
            f"there is no model `{wanted.name}`{did_you_mean(wanted.name, catalog.models)}",
            hint="orchestrator models lists them",
        )
    found = (model for model in catalog.models.values() if _fits(model, wanted))
    return sorted(found, key=lambda model: (model.type, model.name))


def _fits(model: AnyModel, wanted: Filter) -> bool:
    return (
        (wanted.name is None or model.name == wanted.name)
        and (wanted.type is None or model.type == wanted.type)
        and (wanted.feature is None or any(wanted.feature.lower() in feature.lower() for feature in model.features))
        and (wanted.max_credits is None or lowest_price(model) <= wanted.max_credits)
    )


def lowest_price(model: AnyModel) -> Decimal:
    """The least credits that a piece of work of the model costs; for text, a million input tokens."""
    match model:
        case ImageModel():
            return model.credits
        case VideoModel():
            return min(model.credits_by_duration.values())
        case TextModel():
            return model.credits_per_million_input


def changes_since_release(settings: Settings) -> list[Change]:
    """What the catalogue in use says differently from the one that came with this release."""
    return changes(bundled_catalog(), catalogue(settings))


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A catalogue just read from the provider, and how it differs from the one in use before."""

    catalog: Catalog
    changes: list[Change]


def refresh(settings: Settings) -> Refreshed:
    """Read the provider's list of models and keep it as the catalogue in use.

    Sends the credentials where there are any. Raises Unusable, and then the one in use stays.
    """
    before = catalogue(settings)
    after = current_catalogue(settings)
    save_catalog(settings.home, after)
    return Refreshed(after, changes(before, after))


def current_catalogue(settings: Settings) -> Catalog:
    """The provider's list of models as it is now; the catalogue in use stays. Raises Unusable."""
    body = asyncio.run(_read(settings))
    try:
        payload = json.loads(body, parse_float=Decimal)
    except ValueError:
        raise Unusable("the provider's list of models is not JSON", hint="the catalogue in use is kept") from None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return read_models(payload, catalogue(settings), fetched_at=now, source=settings.katana_base_url)


async def _read(settings: Settings) -> bytes:
    has_credentials = settings.katana_api_key is not None and settings.katana_api_secret is not None
    headers = credits_payer(settings).headers if has_credentials else {}
    try:
        async with KatanaClient(settings.katana_base_url, headers) as client:
            return await client.models()
    except ProviderUnavailable as error:
        raise Unusable(
            f"{settings.katana_base_url} does not tell its models ({error.reason})", hint="the catalogue in use is kept"
        ) from None
