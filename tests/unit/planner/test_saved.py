"""Saved plans: what was seen is what runs, and whatever changed since is told or refused."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.base.diagnostics import Code
from orchestrator.base.errors import ManifestError, UsageError
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.operations.planning import save_plan
from orchestrator.planner.plan import Plan, plan
from orchestrator.planner.replan import replan
from orchestrator.planner.saved import is_saved_plan, saved_plan_text

from .test_repricing import catalog_with, catalog_without

MEDIA = Path(__file__).resolve().parents[2] / "golden" / "media"
RATE = Decimal("0.0052")
JPEG = base64.b64encode((MEDIA / "really-a-png.jpg").read_bytes()).decode()
VOICE = base64.b64encode((MEDIA / "voice-4s.wav").read_bytes()).decode()
MANIFEST = f"""
version: 1
name: spring
destination: out
budget: {{credits: 1000}}
labels: {{season: spring}}
price_tolerance: 10%
canary: 2
stop_when: {{failed_over: 20%}}
defaults: {{prompt: "A möse \U0001f400 {{{{ x }}}}", aspect_ratio: 1:1}}
jobs:
  - {{id: mug, model: gpt-image-2, image_urls: [red.png, "data:image/png;base64,{JPEG}"], labels: {{shelf: top}}}}
  - {{id: cup, model: gpt-image-2, image_urls: [red.png, "https://example.com/a.png"]}}
  - {{id: raw, model: nano-banana-2, input_images: ["{JPEG}"], extra: {{seed: 42, scale: 2.5, deep: [{{a: null}}]}}}}
  - id: spin
    model: seedance-2-0
    duration_seconds: 5
    video_image_data: {{reference_image_urls: [green.jpg, {{from: mug}}], audio_input_urls: ["{VOICE}"]}}
"""


class Site:
    """A folder with a manifest, its media and the plan saved of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "batch.yaml"
        self.saved = folder / "plan"  # recognised by what is in it
        for name in ("red.png", "green.jpg"):
            shutil.copy(MEDIA / name, folder)
        self.manifest.write_text(MANIFEST, encoding="utf-8")

    def plan(self, **options: Any) -> Plan:
        return plan(self.manifest, bundled_catalog(), usd_per_credit=RATE, **options)

    def save(self, **options: Any) -> Plan:
        planned = self.plan(**options)
        save_plan(planned, self.saved)
        return planned

    def again(self, catalog: Catalog | None = None, rate: Decimal = RATE, **options: Any) -> Plan:
        return replan(self.saved, catalog or bundled_catalog(), usd_per_credit=rate, **options)

    def rewrite(self, change: Callable[[dict[str, Any]], Any]) -> None:
        document = json.loads(self.saved.read_bytes())
        change(document)
        self.saved.write_text(json.dumps(document))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def told(plan: Plan) -> list[str]:
    """The new warnings, without those that the manifest itself gave rise to."""
    return [warning.message for warning in plan.warnings if warning.file == plan.file]


def test_it_is_the_same_plan_again(site: Site) -> None:
    seen = site.save()
    again = site.again()
    assert (again.valid, told(again)) == (True, [])
    assert again.document() == seen.document()
    assert again.jobs == seen.jobs
    assert again.media == seen.media
    for name in ("name", "destination", "key", "budget", "bundle", "labels", "price_tolerance", "canary"):
        assert getattr(again, name) == getattr(seen, name)
    assert again.stop_when_failed_over == Decimal("0.2")
    assert again.destination == str(site.folder / "out")
    assert saved_plan_text(seen) == saved_plan_text(site.plan())


def test_it_needs_the_manifest_no_more_and_tells_of_a_later_edit(site: Site) -> None:
    seen = site.save()
    site.manifest.write_text(MANIFEST.replace("id: mug", "id: jug"))
    again = site.again()
    assert (again.valid, again.jobs) == (True, seen.jobs)
    assert told(again) == [f"{site.manifest} was changed since; what was planned then is what runs"]
    site.manifest.unlink()
    assert (site.again().valid, told(site.again())) == (True, [])


def test_caps_and_canary_of_the_command_line_still_apply(site: Site) -> None:
    site.save(max_credits=Decimal(900), canary=3)
    assert (site.again().budget, site.again().canary) == (Decimal(900), 3)
    assert site.again(max_credits=Decimal(800)).budget == Decimal(800)
    assert site.again(max_credits=Decimal(5000), canary=1).budget == Decimal(900)
    assert site.again(canary=1).canary == 1
    refused = site.again(max_credits=Decimal(10))
    assert [error.code for error in refused.errors] == [Code.OVER_BUDGET]
    assert "over --max-credits 10: " in refused.errors[0].message
    assert refused.only_money


def test_a_dollar_budget_holds_at_the_rate_of_the_day(site: Site) -> None:
    site.manifest.write_text(MANIFEST.replace("{credits: 1000}", "{usd: 5.2}"))
    assert site.save().budget == Decimal(1000)
    dearer = site.again(rate=Decimal("0.0104"))
    assert (dearer.valid, dearer.budget) == (True, Decimal(500))
    assert told(dearer) == ["a credit counts as $0.0104 now, $0.0052 when the plan was made"]
    assert site.again(rate=Decimal("0.001")).budget == Decimal(1000)
    assert site.again(rate=Decimal("0.1")).only_money


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a prompt": lambda plan: plan["jobs"][0]["item"].update(prompt="Another"),
    "a price": lambda plan: plan["jobs"][0].update(estimate="1"),
    "a job less": lambda plan: plan["jobs"].pop(),
    "the budget": lambda plan: plan.update(budget="999999"),
    "no digest": lambda plan: plan.pop("digest"),
    "a null digest": lambda plan: plan.update(digest=None),
    "a new key": lambda plan: plan.update(extra=1),
    "a release to come": lambda plan: plan.update(saved_plan=2),
    "no number": lambda plan: plan.update(saved_plan=True),
    "media": lambda plan: plan["media"].clear(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_plan_is_refused(site: Site, edit: Callable[[dict[str, Any]], Any]) -> None:
    site.save()
    site.rewrite(edit)
    assert is_saved_plan(site.saved)
    (error,) = site.again().errors
    assert error.code is Code.MANIFEST_UNREADABLE
    assert "make it anew with: orchestrator plan MANIFEST -o FILE" in error.message
    assert not site.again().only_money


@pytest.mark.parametrize("length", [20, 200, 2000, -2, -40])
def test_a_plan_that_was_cut_is_refused(site: Site, length: int) -> None:
    site.save()
    site.saved.write_bytes(site.saved.read_bytes()[:length])
    assert is_saved_plan(site.saved)
    (error,) = site.again().errors
    assert "the saved plan is cut short" in error.message


@pytest.mark.parametrize("content", [b"\xff" * 9, b"NaN}", b'"x": ' * 9, b"[" * 100_000, b"1}"])
def test_nonsense_behind_the_first_key_is_refused(site: Site, content: bytes) -> None:
    site.saved.write_bytes(b'{"saved_plan": ' + content)
    assert is_saved_plan(site.saved)
    (error,) = site.again().errors
    assert error.code is Code.MANIFEST_UNREADABLE


def test_another_layout_is_no_edit(site: Site) -> None:
    site.save()
    document = json.loads(site.saved.read_bytes())
    site.saved.write_text(json.dumps(dict(sorted(document.items())), sort_keys=True))
    assert is_saved_plan(site.saved)
    assert site.again().valid


def test_it_is_told_by_its_content_alone(site: Site) -> None:
    labelled = {"version": 1, "name": "t", "labels": {"saved_plan": "x"}, "jobs": []}
    for content in ("", "{", "{}", "[1]", "jobs: []", '{"a": "saved_plan"}', json.dumps(labelled)):
        site.saved.write_text(content)
        assert not is_saved_plan(site.saved)
    assert not is_saved_plan(site.manifest)
    assert not is_saved_plan(site.folder)
    assert not is_saved_plan(site.folder / "nothing")
    pipe = site.folder / "pipe"
    os.mkfifo(pipe)
    assert not is_saved_plan(pipe)  # and nothing was read from it


def test_local_media_are_still_what_they_were(site: Site) -> None:
    site.save()
    shutil.copy(MEDIA / "green.jpg", site.folder / "red.png")
    (site.folder / "green.jpg").unlink()
    again = site.again()
    assert [(error.code, error.job) for error in again.errors] == [
        (Code.MEDIA_CHANGED, "mug"),
        (Code.MEDIA_FILE_MISSING, "spin"),
    ]
    changed, gone = (error.message for error in again.errors)
    assert changed.startswith(f"`{site.folder / 'red.png'}` of job `mug` and 1 more has changed since")
    assert gone.startswith(f"`{site.folder / 'green.jpg'}` of job `spin` is gone since")
    assert (again.job_count, again.only_money) == (4, False)


def test_a_lost_file_of_a_needed_job_is_told_once(site: Site) -> None:
    site.save()
    (site.folder / "red.png").unlink()
    assert [error.code for error in site.again().errors] == [Code.MEDIA_FILE_MISSING]


def test_a_turned_photo_is_turned_again(site: Site) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(site.folder / "red.png", exif=exif)
    seen = site.save()
    again = site.again()
    assert (again.valid, again.jobs, again.media) == (True, seen.jobs, seen.media)
    assert any(blob.turned_from for blob in again.media.values())
    Image.new("RGB", (40, 20)).save(site.folder / "red.png")
    assert [error.code for error in site.again().errors] == [Code.MEDIA_CHANGED]


def test_rows_takes_and_rejected_jobs_are_kept(site: Site) -> None:
    site.manifest.write_text(
        "version: 1\nname: t\nreuse: none\non_invalid: {skip_at_most: 50%}\njobs:\n"
        "  - {id: '{{ sku }}', for_each: [{sku: a, r: '1:1'}, {sku: b, r: '7:1'}], takes: 2, gate: manual,\n"
        "     model: gpt-image-2, prompt: x, aspect_ratio: '{{ r }}'}\n"
        "  - {id: 'on-{{ sku }}', for_each: [{sku: a}, {sku: b}], model: gpt-image-2, prompt: x, aspect_ratio: 1:1,\n"
        "     image_url: {from: '{{ sku }}.2'}}\n"
    )
    seen = site.save()
    again = site.again()
    assert (again.valid, again.jobs, again.rejected) == (True, seen.jobs, seen.rejected)
    assert (again.document(), again.reuse) == (seen.document(), "none")
    assert [job.id for job in again.rejected] == ["b.1", "b.2"]
    assert [(job.take, job.has_gate, job.row_place) for job in again.jobs][:2] == [
        (1, True, "row 1"),
        (2, True, "row 1"),
    ]


def test_a_file_of_an_earlier_release_still_runs(site: Site) -> None:
    """Its jobs had none of the keys that came with chains."""
    seen = site.save()
    document = json.loads(site.saved.read_bytes())
    for job in document["jobs"]:
        for name in ("ordinal", "fingerprint", "take", "has_gate", "row", "row_place"):
            del job[name]
    for medium in document["media"].values():
        del medium["turned_from"], medium["uri"]
    for name in ("rejected", "notify", "reuse", "digest"):
        del document[name]
    content = {name: value for name, value in document.items() if name != "saved_plan"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    document["digest"] = hashlib.sha256(text.encode()).hexdigest()
    site.saved.write_text(json.dumps(document))
    assert (site.again().errors, site.again().jobs) == ((), seen.jobs)


def test_a_price_within_the_tolerance_is_told(site: Site) -> None:
    seen = site.save()
    dearer = catalog_with("gpt-image-2", credits=Decimal("15.4"))
    again = site.again(dearer)
    assert again.valid
    assert told(again) == ["gpt-image-2 costs 15.4 credits now, 14 when the plan was made (2 jobs)"]
    assert again.estimate == seen.estimate + Decimal("2.8")
    assert again.catalog is dearer
    cheaper = site.again(catalog_with("seedance-2-0", credits_by_duration={5: Decimal(100)}))
    assert told(cheaper) == ["seedance-2-0 (5 s) costs 100 credits now, 200 when the plan was made (1 job)"]


def test_a_price_beyond_the_tolerance_is_refused(site: Site) -> None:
    site.save()
    again = site.again(catalog_with("gpt-image-2", credits=Decimal("15.41")))
    (error,) = again.errors
    assert (error.code, error.job, again.only_money) == (Code.PRICE_CHANGED, "mug", True)
    assert error.message == (
        "gpt-image-2 costs 15.41 credits now, 14 when the plan was made (2 jobs); 10% more is tolerated: "
        "plan again to see it"
    )
    site.manifest.write_text(MANIFEST.replace("price_tolerance: 10%", ""))
    site.save()
    again = site.again(catalog_with("gpt-image-2", credits=Decimal("14.1")))
    assert "there is no `price_tolerance`" in again.errors[0].message


def test_a_tolerated_price_still_has_to_fit_the_budget(site: Site) -> None:
    estimate = site.plan().estimate
    site.save(max_credits=estimate)
    again = site.again(catalog_with("gpt-image-2", credits=Decimal("15.4")))
    assert [error.code for error in again.errors] == [Code.OVER_BUDGET]
    assert "over the plan's budget of " in again.errors[0].message


def test_a_model_that_is_gone_or_takes_less_is_refused(site: Site) -> None:
    site.save()
    gone = site.again(catalog_without("gpt-image-2"))
    assert [(error.code, error.job) for error in gone.errors] == [
        (Code.UNKNOWN_MODEL, "mug"),
        (Code.UNKNOWN_MODEL, "cup"),
    ]
    square = site.again(catalog_with("gpt-image-2", aspect_ratios=("16:9",)))
    assert {error.code for error in square.errors} == {Code.UNSUPPORTED_ASPECT_RATIO}
    longer = site.again(catalog_with("seedance-2-0", credits_by_duration={10: Decimal(1)}))
    assert [(error.code, error.job) for error in longer.errors] == [(Code.UNSUPPORTED_DURATION, "spin")]
    assert not longer.only_money


def test_a_new_warning_of_the_catalogue_is_told(site: Site) -> None:
    site.manifest.write_text(MANIFEST.replace("image_urls: [red.png, ", "image_urls: ["))
    site.save()
    again = site.again(catalog_with("gpt-image-2", max_reference_images=0))
    assert again.valid
    assert told(again) == ["gpt-image-2 documents no reference images; one may be accepted"] * 2


def test_only_a_saved_plan_is_overwritten(site: Site) -> None:
    site.save()
    first = site.saved.read_bytes()
    site.save(canary=7)
    assert site.saved.read_bytes() != first
    taken = site.folder / "notes.txt"
    taken.write_text("mine")
    for target in (taken, site.manifest, site.folder):
        with pytest.raises(UsageError, match="is no saved plan"):
            save_plan(site.plan(), target)
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        save_plan(site.plan(), site.folder / "nowhere" / "plan.json")
    assert taken.read_text() == "mine"
    assert {path.name for path in site.folder.iterdir()} == {
        "batch.yaml", "green.jpg", "notes.txt", "plan", "red.png",
    }  # fmt: skip


def test_neither_an_invalid_nor_a_saved_plan_is_saved(site: Site) -> None:
    site.save()
    with pytest.raises(UsageError, match="is a saved plan already"):
        save_plan(site.again(), site.folder / "copy")
    site.manifest.write_text(MANIFEST.replace("id: cup", "id: mug"))
    with pytest.raises(ManifestError, match="no plan was saved") as caught:
        save_plan(site.plan(), site.folder / "invalid")
    assert caught.value.exit_code == 2
    assert not (site.folder / "invalid").exists()
