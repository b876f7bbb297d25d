"""Reading what a request made elsewhere is about."""

from decimal import Decimal
from typing import Any

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.engine.foreign import read_items
from orchestrator.katana.wire import Answer

CATALOG = bundled_catalog()


def items(**answer: Any) -> list[Any]:
    return read_items(Answer.model_validate(answer), CATALOG)


def test_the_example_of_the_guide() -> None:
    """ "Image / Video Response Format": the model is a key there, the price a string."""
    asked = {
        "type": "image",
        "model": "gpt2image",
        "prompt": "A clean product photo of a ceramic mug",
        "aspect_ratio": "1:1",
        "output_format": "png",
    }
    made = {"type": "image", "status": "completed", "metadata": {"model": "gpt2image", "credits_spent": "3"}}
    (item,) = items(requests=[asked], responses=[made], metadata={"credits_spent": "3"})
    assert item.price == Decimal(3)
    assert item.item["prompt"] == "A clean product photo of a ceramic mug"
    assert item.type == "image"


def test_a_model_key_becomes_the_public_name() -> None:
    keyed = CATALOG.models["gpt-image-2"].model_copy(update={"model_key": "gpt2image"})
    catalog = Catalog(source="tests", fetched_at=CATALOG.fetched_at, models={"gpt-image-2": keyed})
    (item,) = read_items(Answer.model_validate({"requests": [{"model": "gpt2image", "prompt": "A mug"}]}), catalog)
    assert (item.model, item.item["model"], item.price) == ("gpt-image-2", "gpt-image-2", 14)


def test_a_model_that_nobody_knows_has_no_price() -> None:
    (item,) = items(responses=[{"status": "processing", "type": "video", "metadata": {"model": "of-tomorrow"}}])
    assert (item.type, item.model, item.price) == ("video", "of-tomorrow", 0)


def test_a_video_costs_what_its_duration_costs() -> None:
    (item,) = items(requests=[{"type": "video", "model": "seedance-2-0", "duration_seconds": 5, "prompt": "x"}])
    assert item.price == 200


def test_a_total_speaks_for_an_item_that_is_alone() -> None:
    asked = {"type": "image", "model": "gen", "prompt": "x"}
    (alone,) = items(requests=[asked], metadata={"credits_spent": "7"})
    assert alone.price == 7
    two = items(requests=[asked, asked], metadata={"credits_spent": "7"})
    assert [item.price for item in two] == [3, 3]


def test_labels_are_kept_and_media_are_not() -> None:
    asked = {
        "type": "image",
        "model": "gen",
        "labels": {"team": "blue", "n": 1},
        "image_urls": ["data:image/png;base64,AAAA", "https://example.com/a.png"],
        "mask": "data:image/png;base64,AAAA",
        "raw": "A" * 200_000,
    }
    (item,) = items(requests=[asked])
    assert item.labels == {"team": "blue"}
    assert item.item["image_urls"] == ["https://example.com/a.png"]
    assert not {"mask", "raw"} & item.item.keys()


def test_an_answer_that_tells_nothing_or_nonsense() -> None:
    assert items(status="queued") == []
    (item,) = items(requests=[{"model": 7, "type": ["x"], "video_image_data": 3, "labels": "x"}])
    assert (item.type, item.model, item.price) == ("image", "unknown", 0)
    (odd,) = items(
        requests=[{"type": "video", "model": "seedance-2-0", "duration_seconds": "5", "video_image_data": 3}]
    )
    assert odd.price == 0
