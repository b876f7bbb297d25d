"""Stored items priced again: the rule that planned them, against another catalogue."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog, VideoModel
from orchestrator.planner.plan import Plan
from orchestrator.planner.repricing import NoLongerOffered, price_item

AUDIO = "https://example.com/a.mp3"


def catalog_with(name: str, **changes: Any) -> Catalog:
    """The bundled catalogue with one model changed."""
    bundled = bundled_catalog()
    changed = bundled.models[name].model_copy(update=changes)
    return bundled.model_copy(update={"models": {**bundled.models, name: changed}})


def catalog_without(name: str) -> Catalog:
    """The bundled catalogue less one model."""
    bundled = bundled_catalog()
    return bundled.model_copy(update={"models": {known: m for known, m in bundled.models.items() if known != name}})


def test_every_job_costs_what_it_was_planned_at(plan_text: Callable[..., Plan]) -> None:
    plan = plan_text(
        "version: 1\nname: t\ndefaults: {prompt: x}\njobs:\n"
        "  - {id: image, model: gpt-image-2, aspect_ratio: 1:1}\n"
        "  - {id: uhd, model: gen, aspect_ratio: 1:1, is_uhd: true}\n"
        "  - {id: short, model: seedance-2-0, aspect_ratio: 16:9, duration_seconds: 5}\n"
        "  - {id: long, model: seedance-2-0, aspect_ratio: 16:9, duration_seconds: 15}\n"
    )
    assert plan.valid
    for job in plan.jobs:
        assert price_item(plan.catalog, type=job.type, model=job.model, item=job.item) == job.estimate


@pytest.mark.parametrize(
    "media",
    [
        {"video_image_data": {"audio_input_urls": [AUDIO]}},
        {"reference_assets": [{"kind": "source_audio", "url": AUDIO}]},
    ],
)
def test_a_duration_that_follows_the_audio_reserves_the_dearest(media: dict[str, Any]) -> None:
    catalog = catalog_with("seedance-2-0", custom_rules=("audio_drives_duration",))
    item = {"duration_seconds": 5}
    assert price_item(catalog, type="video", model="seedance-2-0", item=item) == Decimal(200)
    assert price_item(catalog, type="video", model="seedance-2-0", item=item | media) == Decimal(550)
    pictures = {"reference_assets": [{"kind": "image", "url": "https://example.com/a.png"}]}
    assert price_item(catalog, type="video", model="seedance-2-0", item=item | pictures) == Decimal(200)


def test_a_new_price_is_the_price() -> None:
    catalog = catalog_with("gpt-image-2", credits=Decimal("15.5"))
    assert price_item(catalog, type="image", model="gpt-image-2", item={}) == Decimal("15.5")


def test_what_is_gone_is_named() -> None:
    shorter = catalog_with("seedance-2-0", credits_by_duration={10: Decimal(375)})
    assert isinstance(shorter.get("seedance-2-0"), VideoModel)
    with pytest.raises(NoLongerOffered, match="seedance-2-0 no longer offers 5 seconds") as caught:
        price_item(shorter, type="video", model="seedance-2-0", item={"duration_seconds": 5})
    assert (caught.value.exit_code, caught.value.code) == (2, "no-longer-offered")
    with pytest.raises(NoLongerOffered, match="there is no model gen any more"):
        price_item(catalog_without("gen"), type="image", model="gen", item={})
    with pytest.raises(NoLongerOffered, match="gen is no video model any more"):
        price_item(bundled_catalog(), type="video", model="gen", item={})
