"""Text jobs: what is set aside for them, what makes two of them the same, and how their pictures are read."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import TextModel
from orchestrator.planner.fingerprint import fingerprint
from orchestrator.planner.plan import Plan, plan
from orchestrator.planner.repricing import price_item
from orchestrator.planner.saved import saved_plan_text
from orchestrator.planner.showing import concrete_job, shortened_item
from orchestrator.planner.text_pricing import prompt_tokens, text_reserve, tier_tokens

PlanText = Callable[..., Plan]
CATALOG = bundled_catalog()
URL = "https://example.com/a.png"


def model(name: str, **changes: Any) -> TextModel:
    found = CATALOG.get(name)
    assert isinstance(found, TextModel)
    return found.model_copy(update=changes)


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "text", "model": "qwen3-6-flash", "prompt": "Hello"} | fields


def seeing(*urls: Any) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"type": "text", "model": "qwen3-6-flash", "messages": [{"role": "user", "content": parts}]}


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("qwen3-6-flash", {"max_tokens": 64}, "10"),  # the minimum
        ("gpt-5-5", {}, "101.6"),  # 16,000 tokens at 6346.2 a million, and 20 of the prompt at 1057.7
        ("gpt-5-5", {"max_tokens": 10_000}, "63.5"),
        ("gpt-5-5", {"max_completion_tokens": 10_000}, "63.5"),
        ("gpt-5-5", {"max_tokens": 10, "max_completion_tokens": 10_000}, "63.5"),  # the larger one
    ],
)
def test_the_reserve_is_that_of_the_guide(name: str, fields: dict[str, Any], expected: str) -> None:
    assert text_reserve(model(name), item(**fields)).credits == Decimal(expected)


def test_a_model_that_writes_less_than_the_default_reserves_less() -> None:
    small = model("gpt-5-5", max_output_tokens=2_000)
    assert text_reserve(small, item()).credits == Decimal("12.8")


def test_a_prompt_counts_by_its_bytes_and_a_picture_by_a_fixed_number() -> None:
    assert prompt_tokens(item(prompt="ü" * 100)) == prompt_tokens(item(prompt="")) + 200
    assert prompt_tokens(seeing(URL, URL)) - prompt_tokens(seeing()) >= 2 * 16_384
    media = {"$media": "ab" * 32, "prefix": "data:image/png;base64,"}
    same = {prompt_tokens(seeing(picture)) for picture in (URL, media, {"$from": "a", "use": "original"})}
    assert len(same) == 1, "whatever stands in the item for it"


def test_prices_in_tiers_are_reserved_by_the_upper_one_where_it_may_count() -> None:
    assert (tier_tokens(model("grok-4-3")), tier_tokens(model("qwen3-6-flash"))) == (200_000, 256_000)
    assert tier_tokens(model("gpt-5-5")) is None
    below = text_reserve(model("grok-4-3"), item(max_tokens=199_000))
    above = text_reserve(model("grok-4-3"), item(max_tokens=201_000))
    assert (below.is_upper_tier, above.is_upper_tier) == (False, True)
    assert above.credits > 4 * below.credits


@pytest.mark.usefixtures("red")
def test_a_stored_item_is_priced_as_it_was_planned(plan_text: PlanText) -> None:
    job = plan_text(TEXTS).jobs[0]
    assert price_item(CATALOG, type="text", model=job.model, item=job.item) == job.estimate


TEXTS = """
version: 1
name: texts
jobs:
  - id: "caption-{{ n }}"
    for_each: [{n: "1", most: "80"}]
    model: qwen3-6-flash
    max_tokens: "{{ most }}"
    messages:
      - role: user
        content:
          - {type: text, text: "Picture {{ n }}"}
          - {type: image_url, image_url: {url: ./red.png}}
"""


@pytest.fixture
def red(tmp_path: Path) -> None:
    golden = Path(__file__).resolve().parents[2] / "golden" / "media" / "red.png"
    (tmp_path / "red.png").write_bytes(golden.read_bytes())


@pytest.mark.usefixtures("red")
def test_files_in_messages_are_media_and_templates_reach_into_them(plan_text: PlanText) -> None:
    found = plan_text(TEXTS)
    assert found.valid, found.errors
    (job,) = found.jobs
    text, picture = job.item["messages"][0]["content"]
    assert (job.id, text["text"], job.item["max_tokens"]) == ("caption-1", "Picture 1", 80)
    assert picture["image_url"]["url"]["$media"] in found.media
    written = concrete_job(job, found.media)["messages"][0]["content"]
    assert written[1]["image_url"]["url"].endswith("red.png")
    sent = shortened_item(job, found.media)["messages"][0]["content"]
    assert sent[1]["image_url"]["url"].startswith("data:image/png;base64,… (")
    assert b'"text"' in saved_plan_text(found)


def of(asked: dict[str, Any]) -> str:
    return fingerprint(type="text", model="qwen3-6-flash", item=asked, take=None, needed={"a": "fp1:00"})


def test_a_prompt_is_one_message_of_a_user() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    asked = {"type": "text", "model": "qwen3-6-flash", "messages": messages}
    usual = {"stream": False, "response_format": {"type": "text"}}
    assert of(item()) == of(asked) == of(asked | usual) == of(item(**usual))


def test_all_that_shapes_the_answer_counts() -> None:
    picture = {"$media": "ab" * 32, "prefix": "data:image/png;base64,"}
    works = [
        item(),
        item(prompt="Hello!"),
        item(max_tokens=5),
        item(max_completion_tokens=5),
        item(temperature=0),
        item(stop="x"),
        item(response_format={"type": "json_object"}),
        item(tools=[{"type": "function"}]),
        item(seed=1),
        seeing(URL),
        seeing(URL, URL),
        seeing(picture),
        seeing({"$from": "a", "use": "original"}),
    ]
    assert len({of(work) for work in works}) == len(works)
    again = json.loads(json.dumps(seeing(picture | {"prefix": "data:image/jpeg;base64,"})))
    assert of(again) == of(seeing(picture)), "by its bytes"


def test_the_example_plans_a_caption_for_each_picture() -> None:
    example = Path(__file__).resolve().parents[3] / "jobs" / "alt-text.yaml"
    planned = plan(example, CATALOG, usd_per_credit=Decimal("0.0052"))
    assert planned.valid, planned.errors
    captions = [job for job in planned.jobs if job.type == "text"]
    assert [job.needs for job in captions] == [(job.id.removesuffix("-alt"),) for job in captions]
    assert planned.estimate == 4 * (3 + 10)
