"""The bundled catalogue says what the guide says."""

import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog, ImageModel, TextModel, VideoModel

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT.parent / "shared" / "katana-api.md"


def test_counts_of_the_guide() -> None:
    models = bundled_catalog().models.values()
    assert Counter(model.type for model in models) == {"text": 39, "image": 49, "video": 23}
    assert Counter(model.type for model in models if model.type != "text" and model.requires_image) == {
        "image": 4,
        "video": 8,
    }


def test_figures_of_an_image_model() -> None:
    model = bundled_catalog().get("gpt-image-2")
    assert isinstance(model, ImageModel)
    assert model.credits == Decimal(14)
    assert model.usd == Decimal("0.0728")
    assert model.max_reference_images == 16
    assert model.aspect_ratios[:3] == ("1:1", "2:3", "3:2")
    assert not model.is_in_house


def test_rules_of_a_video_model() -> None:
    model = bundled_catalog().get("seedance-2-0")
    assert isinstance(model, VideoModel)
    assert model.credits_by_duration == {5: Decimal(200), 10: Decimal(375), 15: Decimal(550)}
    assert (model.first_frame, model.mid_frame, model.last_frame) == (True, False, True)
    assert model.custom_rules == (
        "reference_no_ff_or_lf",
        "audio_or_fflf_exclusive",
        "lf_needs_ff",
        "audio_15s_max",
    )


def test_text_model_without_an_output_limit() -> None:
    model = bundled_catalog().get("grok-4-3")
    assert isinstance(model, TextModel)
    assert model.max_output_tokens is None
    assert model.credits_per_million_input == Decimal("264.5")
    assert model.document()["usd_per_million_cache_read"] == "0.22"


def test_a_batch_can_keep_the_catalogue_that_priced_it() -> None:
    catalog = bundled_catalog()
    again = Catalog.from_json(catalog.to_json())
    assert again == catalog
    assert again.digest == catalog.digest


def test_documents_have_canonical_money_and_text_durations() -> None:
    document = bundled_catalog().models["ltx-2-3"].document()
    assert document["credits_by_duration"] == {"5": "20", "10": "40", "15": "60", "20": "80"}


@pytest.mark.skipif(not GUIDE.exists(), reason="the provider's guide is not beside this checkout")
def test_snapshot_is_what_the_script_makes_of_the_guide() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_catalog.py"), str(GUIDE)],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert made.stdout == (ROOT / "orchestrator" / "catalog" / "snapshot.json").read_bytes()
