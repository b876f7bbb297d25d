"""What a row's columns make of a path stays in the manifest's folder, or in the one that the template itself names."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.manifest.files import RemoteFault
from orchestrator.planner.plan import Plan, plan

RED = (Path(__file__).resolve().parents[2] / "golden" / "media" / "red.png").read_bytes()


@pytest.fixture
def plan_rows(tmp_path: Path) -> Callable[..., Plan]:
    """Plans one job for a row, beside a folder `photos` and below a file `secret.png` and a folder `shared`."""
    for name in ("secret.png", "shared/a.png", "shared/deep/a.png", "here/photos/a.png", "here/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(RED)
    (tmp_path / "here" / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "shared")

    def make(template: str, cell: str, more: str = "", on_invalid: str = "{skip_at_most: 0}") -> Plan:
        path = tmp_path / "here" / "batch.yaml"
        path.write_text(
            f"version: 1\nname: t\non_invalid: {on_invalid}\nvars: {{folder: {tmp_path}/shared}}\njobs:\n"
            f"  - {{id: a, for_each: [{{x: '{cell}'}}], model: gpt-image-2, prompt: x, aspect_ratio: '1:1'{more},\n"
            f"     image_url: '{template.replace('TMP', str(tmp_path))}'}}\n"
        )
        return plan(path, bundled_catalog(), usd_per_credit=Decimal("0.0052"))

    return make


@pytest.mark.parametrize(
    ("template", "cell"),
    [
        ("{{ x }}", "photos/a.png"),
        ("{{ x | trim }}", "photos/../a.png"),
        ("./photos/{{ x }}.png", "a"),
        ("photos/{{ x }}.png", "../a"),
        ("../shared/{{ x }}", "a.png"),
        ("../shared/{{ x }}", "deep/../a.png"),
        ("TMP/shared/{{ x }}.png", "deep/a"),
        ("{{ folder }}/{{ x }}.png", "deep/a"),
        ("linked/{{ x }}.png", "a"),
    ],
)
def test_paths_that_stay(plan_rows: Callable[..., Plan], template: str, cell: str) -> None:
    assert plan_rows(template, cell).errors == ()


@pytest.mark.parametrize(
    ("template", "cell"),
    [
        ("{{ x }}", "../secret.png"),
        ("./photos/{{ x }}.png", "../../secret"),
        ("./photos/{{ x }}.png", "../../not-there"),
        ("./photos/{{ x }}.png", "link"),
        ("{{ x }}/a.png", "linked"),
        ("../shared/{{ x }}", "../secret.png"),
        ("TMP/shared/{{ x }}.png", "../secret"),
        ("{{ folder }}/{{ x }}.png", "../secret"),
        ("{{ x }}.png", "/etc/secret"),
        ("/{{ x }}.png", "etc/secret"),
        ("{{ x }}/a.png", "~"),
        ("{{ x }}.png", "s3://bucket/a"),
        ("s3://bucket-{{ x }}/a.png", "a"),
        ("s3://bucket/photos/{{ x }}.png", "../a"),
    ],
)
def test_paths_that_lead_out(plan_rows: Callable[..., Plan], template: str, cell: str) -> None:
    planned = plan_rows(template, cell)
    (error,) = planned.errors
    assert error.code is Code.BAD_MEDIA_URL
    assert "leads out of the manifest's folder" in error.message
    assert error.message.endswith("(row 1)")
    assert planned.media == {}


@pytest.mark.parametrize("place", ["shared/a.png", "here/../secret.png"])
def test_a_whole_cell_may_say_where_it_is(plan_rows: Callable[..., Plan], tmp_path: Path, place: str) -> None:
    assert plan_rows("{{ x }}", f"{tmp_path}/{place}").errors == ()


def test_the_matrix_hides_no_column(plan_rows: Callable[..., Plan]) -> None:
    (error,) = plan_rows("{{ y }}.png", "../secret", ", matrix: {y: ['{{ x }}']}").errors
    assert error.code is Code.BAD_MEDIA_URL


def test_what_leads_out_is_not_kept_with_the_rest(plan_rows: Callable[..., Plan]) -> None:
    planned = plan_rows("photos/{{ x }}.png", "../../secret", on_invalid="{skip_at_most: 1}")
    assert [rejected.error.code for rejected in planned.rejected] == [Code.BAD_MEDIA_URL]
    assert planned.media == {}


class Shelf:
    """Every picture on S3, and a manifest for each."""

    def __init__(self, folder: Path, manifest: str) -> None:
        self.file_of_all = folder / "a.png"
        self.file_of_all.write_bytes(RED)
        self.manifest = manifest
        self.asked: list[str] = []

    def read(self, uri: str) -> bytes:
        return self.manifest.encode()

    def file(self, uri: str) -> Path:
        if "none" in uri:
            raise RemoteFault("does not exist")
        self.asked.append(uri)
        return self.file_of_all


@pytest.mark.parametrize(
    ("template", "cell", "asked"),
    [
        ("{{ x }}", "photos/a.png", "s3://shop/jobs/photos/a.png"),
        ("{{ x }}", "S3://other/a.png", "S3://other/a.png"),
        ("photos/{{ x }}.png", "../a", "s3://shop/jobs/a.png"),
        ("../photos/{{ x }}.png", "b/a", "s3://shop/photos/b/a.png"),
        ("s3://other/photos/{{ x }}.png", "a", "s3://other/photos/a.png"),
        ("{{ x }}", "../photos/a.png", None),
        ("photos/{{ x }}.png", "../../../other/a", None),
        ("../photos/{{ x }}.png", "../a", None),
        ("s3://other/photos/{{ x }}.png", "../a", None),
        ("{{ x }}/a.png", "s3://other/../shop/jobs", None),
        ("{{ x }}/a.png", "s3://shop", None),
    ],
)
def test_paths_of_a_manifest_on_s3(tmp_path: Path, template: str, cell: str, asked: str | None) -> None:
    shelf = Shelf(
        tmp_path,
        f"version: 1\nname: t\njobs:\n  - {{id: a, for_each: [{{x: '{cell}'}}], model: gpt-image-2, prompt: x,\n"
        f"     aspect_ratio: '1:1', image_url: '{template}'}}\n",
    )
    planned = plan(Path("s3://shop/jobs/batch.yaml"), bundled_catalog(), usd_per_credit=Decimal("0.0052"), remote=shelf)
    assert shelf.asked == ([asked] if asked else [])
    assert [error.code for error in planned.errors] == ([] if asked else [Code.BAD_MEDIA_URL])
