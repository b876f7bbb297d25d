"""`orchestrator schema` takes what `plan` takes, and knows every key that the reader knows."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import JOB_KEYS
from orchestrator.manifest.nodes import native
from orchestrator.manifest.schema import MANIFEST_KEYS
from orchestrator.manifest.source import read_source
from orchestrator.planner.fields import ALL_FIELDS, VIDEO_IMAGE_DATA
from orchestrator.planner.json_schema import manifest_schema

ROOT = Path(__file__).parents[3]
SCHEMA = manifest_schema(bundled_catalog())
VALIDATOR = Draft202012Validator(SCHEMA)
GOOD = [
    path
    for folder in ("tests/golden/ok", "jobs")
    for path in sorted((ROOT / folder).iterdir())
    if path.suffix in (".yaml", ".json")
]
SEEN = (
    "budget-amounts", "budget-list", "budget-zero", "careful-start-kinds", "careful-start-numbers",
    "careful-start-values", "empty-jobs", "invalid-value", "missing-field", "missing-jobs", "notify", "unknown-field",
    "unknown-model", "unsupported-aspect-ratio", "unsupported-duration", "too-many-labels", "collection-keys",
)  # fmt: skip
"""The faults among the golden ones that an editor can show by the schema alone."""


def content(path: Path) -> Any:
    root = read_source(path, Findings(path.name))
    assert root is not None
    return native(root)


def test_it_is_a_schema_of_its_dialect() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_it_takes_what_plans(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(content(path))] == []


@pytest.mark.parametrize("name", SEEN)
def test_it_shows_common_mistakes(name: str) -> None:
    assert not VALIDATOR.is_valid(content(ROOT / "tests" / "golden" / "err" / f"{name}.yaml"))


def test_it_takes_templates_wherever_they_may_stand() -> None:
    filled = ("takes", "extra", "gate", "video_image_data", "reference_assets", "image_urls", "duration_seconds")
    job = {"id": "{{ a }}", "for_each": [{"a": 1}], "model": "seedance-2-0"} | dict.fromkeys(filled, "{{ a }}")
    assert VALIDATOR.is_valid({"version": 1, "name": "t", "jobs": [job]})


def test_it_knows_every_key_and_describes_it() -> None:
    job = SCHEMA["$defs"]["job"]["properties"]
    assert set(SCHEMA["properties"]) == set(MANIFEST_KEYS)
    assert set(job) == ALL_FIELDS | set(JOB_KEYS)
    assert set(job["video_image_data"]["anyOf"][0]["properties"]) == VIDEO_IMAGE_DATA
    for name, schema in {**SCHEMA["properties"], **job}.items():
        assert schema["description"], name


def test_it_completes_models_with_their_prices() -> None:
    offered = {entry.get("const"): entry for entry in SCHEMA["$defs"]["job"]["properties"]["model"]["anyOf"]}
    assert "200 for 5 s" in offered["seedance-2-0"]["description"]
    assert "14 credits" in offered["gpt-image-2"]["description"]


@pytest.mark.parametrize(
    "job",
    [
        {"id": "a", "model": "seedance-2-0", "duration_seconds": 6},
        {"id": "a", "model": "gpt-image-2", "aspect_ratio": "7:3"},
        {"id": "a", "image_url": {"form": "b"}},
        {"id": "a", "gate": "automatic"},
        {"id": "a", "takes": 0},
        {"id": "a", "promt": "A mug"},
        {"prompt": "A mug"},
    ],
)
def test_it_shows_what_is_wrong_with_a_job(job: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"version": 1, "name": "t", "jobs": [job]})
