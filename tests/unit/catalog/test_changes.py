"""What a user of one catalogue has to know about another."""

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.changes import Change, changes
from orchestrator.catalog.models import Catalog


def catalog_with(name: str, **fields: Any) -> Catalog:
    bundled = bundled_catalog()
    model = bundled.models[name].model_copy(update=fields)
    return bundled.model_copy(update={"models": {**bundled.models, name: model}})


def test_a_video_price_is_told_by_its_duration() -> None:
    new = catalog_with("seedance-2-0", credits_by_duration={5: Decimal(210), 10: Decimal(375), 20: Decimal(700)})
    assert changes(bundled_catalog(), new) == [
        Change("seedance-2-0", "price", "credits_by_duration.5", "200", "210"),
        Change("seedance-2-0", "durations", "credits_by_duration.15", "550", None),
        Change("seedance-2-0", "durations", "credits_by_duration.20", None, "700"),
    ]


def test_limits_and_rules_are_told_and_words_are_not() -> None:
    new = catalog_with("gpt-image-2", max_reference_images=2, requires_image=True, description="new", usd=None)
    assert [(change.kind, change.effect) for change in changes(bundled_catalog(), new)] == [
        ("max_reference_images", "changed"),
        ("requires_image", "changed"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "effect", "percent"),
    [
        ("14", "15", "dearer", "7.1"),
        ("15", "14", "cheaper", "-6.7"),
        ("0", "1", "dearer", None),
        ("14", None, "changed", None),
    ],
)
def test_a_price_goes_up_or_down(before: str, after: str | None, effect: str, percent: str | None) -> None:
    change = Change("m", "price", "credits", before, after)
    assert change.effect == effect
    assert change.percent == (None if percent is None else Decimal(percent))


def test_models_come_and_go() -> None:
    bundled = bundled_catalog()
    fewer = bundled.model_copy(update={"models": {name: m for name, m in bundled.models.items() if name != "gen"}})
    document = bundled.models["gen"].document()
    assert changes(bundled, fewer) == [Change("gen", "removed", before=document)]
    assert changes(fewer, bundled) == [Change("gen", "added", after=document)]
    assert [change.effect for change in (*changes(bundled, fewer), *changes(fewer, bundled))] == ["gone", "new"]
