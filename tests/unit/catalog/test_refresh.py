"""Reading `GET /v1/models`: any envelope, nothing lost, no absurd price taken over."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.base.errors import Unusable
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.cache import load_catalog, save_catalog
from orchestrator.catalog.changes import Change, changes
from orchestrator.catalog.models import Catalog, ImageModel, VideoModel
from orchestrator.catalog.refresh import read_models

AT = "2026-11-22T00:00:00Z"
IMAGE: dict[str, Any] = {
    "model_key": "gpt2image",
    "name": "gpt-image-2",
    "type": "image",
    "credits": "15",
    "supported_aspects": ["1:1", "7:5"],
    "multi_image_inputs_allowed": 4,
    "something_new": {"a": 1},
}
VIDEO: dict[str, Any] = {
    "model_key": "kling16",
    "name": "Kling 1.6",
    "id": "kling-1-6",
    "type": "video",
    "video_lengths_and_costs": {"5": 131, "10": {"credits": 255.5}},
    "supports_audio_input": False,
    "custom_rules": ["lf_needs_ff"],
}


def read(payload: object) -> Catalog:
    return read_models(payload, bundled_catalog(), fetched_at=AT)


@pytest.mark.parametrize(
    "payload",
    [
        [IMAGE, VIDEO],
        {"models": [IMAGE, VIDEO]},
        {"object": "list", "data": [IMAGE, VIDEO]},
        {"data": {"image": [IMAGE], "video": [VIDEO], "text": []}},
        {"image_models": [IMAGE], "video_models": [VIDEO]},
        {"gpt-image-2": {k: v for k, v in IMAGE.items() if k != "name"}, "kling-1-6": VIDEO},
    ],
)
def test_any_envelope(payload: object) -> None:
    catalog = read(payload)
    assert set(catalog.models) == {"gpt-image-2", "kling-1-6"}
    image, video = catalog.get("gpt-image-2"), catalog.get("kling-1-6")
    assert isinstance(image, ImageModel)
    assert isinstance(video, VideoModel)
    assert (image.credits, image.usd, image.max_reference_images) == (Decimal(15), None, 4)
    assert image.aspect_ratios == ("1:1", "7:5")
    assert image.display_name == "GPT Image 2"
    assert video.credits_by_duration == {5: Decimal(131), 10: Decimal("255.5")}
    assert video.custom_rules == ("lf_needs_ff",)
    assert catalog.by_key("gpt2image") is image
    assert catalog.notes == ()


@pytest.mark.parametrize("price", ["0", "-1", "281", "NaN", True, None, {"usd": "1"}, [14]])
def test_an_absurd_price_is_not_taken_over(price: object) -> None:
    catalog = read([IMAGE | {"credits": price}])
    model = catalog.get("gpt-image-2")
    assert isinstance(model, ImageModel)
    assert model.credits == Decimal(14)
    assert bool(catalog.notes) == (price is not None)


def test_one_unreadable_model_does_not_block_the_others() -> None:
    catalog = read([IMAGE, {"name": "brand-new", "type": "video", "supported_aspects": 7}])
    assert set(catalog.models) == {"gpt-image-2"}
    assert any("brand-new: left out" in note for note in catalog.notes)


def test_an_unknown_rule_keeps_the_known_ones() -> None:
    catalog = read([VIDEO | {"id": "seedance-2-0", "custom_rules": ["new_rule"]}])
    model = catalog.get("seedance-2-0")
    assert isinstance(model, VideoModel)
    assert "lf_needs_ff" in model.custom_rules
    assert "seedance-2-0: custom_rules has unknown rules: new_rule" in catalog.notes


@pytest.mark.parametrize("payload", [None, "models", [], {}, {"error": {"message": "no"}}, [1, 2], [[[[[[]]]]]]])
def test_an_answer_without_models_is_refused(payload: object) -> None:
    with pytest.raises(Unusable):
        read(payload)


def test_changes_are_told_by_kind() -> None:
    old, new = bundled_catalog(), read([IMAGE])
    found = changes(old, new)
    assert Change("gpt-image-2", "price", "credits", "14", "15") in found
    assert Change("gpt-image-2", "aspects", "aspect_ratios", *_aspects(old, new)) in found
    assert Change("kling-1-6", "removed", before=old.models["kling-1-6"].document()) in found
    assert Change("gpt-image-2", "price", "usd", "0.0728", None) not in found
    assert changes(old, old) == []


def _aspects(*catalogs: Catalog) -> list[object]:
    return [catalog.models["gpt-image-2"].document()["aspect_ratios"] for catalog in catalogs]


def test_the_last_good_copy_is_kept(tmp_path: Path) -> None:
    assert load_catalog(tmp_path) is bundled_catalog()
    save_catalog(tmp_path / "home", read([IMAGE]))
    assert load_catalog(tmp_path / "home") == read([IMAGE])
    (tmp_path / "home" / "catalog.json").write_text("{torn")
    assert load_catalog(tmp_path / "home") is bundled_catalog()
