"""Whether a request that a person names is surely another's."""

from typing import Any

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.engine.foreign import contradiction
from orchestrator.katana.wire import Answer

ITEM = {"type": "image", "model": "gpt-image-2", "prompt": "A mug", "aspect_ratio": "1:1"}
BUNDLED = bundled_catalog()
CATALOG = Catalog(
    source="tests",
    fetched_at=BUNDLED.fetched_at,
    models=BUNDLED.models
    | {"gpt-image-2": BUNDLED.models["gpt-image-2"].model_copy(update={"model_key": "gpt2image"})},
)


def against(*told: dict[str, Any], item: dict[str, Any] = ITEM) -> str | None:
    return contradiction(Answer.model_validate({"requests": list(told)}), [item], CATALOG)


@pytest.mark.parametrize(
    "told",
    [
        ITEM,
        ITEM | {"model": "gpt2image"},
        ITEM | {"model": "a-key-that-nobody-knows"},
        ITEM | {"prompt": " A mug\n"},
        {"seed": 42},
        {"prompt": None, "model": 7},
    ],
)
def test_what_may_be_it(told: dict[str, Any]) -> None:
    assert against(told) is None


def test_an_answer_that_tells_no_items_says_nothing() -> None:
    assert against() is None


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (ITEM | {"prompt": "A jug"}, "its prompt is 'A jug'"),
        (ITEM | {"prompt": "A jug" * 20}, f"its prompt is '{'A jug' * 12}...'"),
        (ITEM | {"model": "gen"}, "its model is gen, not gpt-image-2"),
        (ITEM | {"type": "video"}, "its type is video, not image"),
    ],
)
def test_what_is_surely_anothers(told: dict[str, Any], why: str) -> None:
    assert against(told) == why


def test_another_number_of_items_is_anothers() -> None:
    assert against(ITEM, ITEM) == "it is for 2 item(s), not 1"


def test_a_prompt_that_the_provider_was_to_rewrite_is_not_compared() -> None:
    assert against(ITEM | {"prompt": "mug, product_photo"}, item=ITEM | {"use_assistant": True}) is None
