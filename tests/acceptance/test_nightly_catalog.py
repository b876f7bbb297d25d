"""The example of jobs/nightly-catalog.yaml over three nights."""

import csv
import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.conftest import Cli

JOBS = Path(__file__).parents[2] / "jobs"
EVERYTHING = {"nano-banana-2": 8, "seedance-2-0-fast": 2, "gpt-image-2": 4}


@pytest.fixture
def catalogue(cli: Cli) -> Path:
    """The example's files in the working folder."""
    shutil.copytree(JOBS, cli.folder, dirs_exist_ok=True)
    return cli.folder


def test_the_example_plans(cli: Cli, catalogue: Path) -> None:
    planned = cli("plan", "nightly-catalog.yaml", "--json")
    assert (planned.code, planned.json["warnings"]) == (0, [])
    assert {row["model"]: row["jobs"] for row in planned.json["by_model"]} == EVERYTHING


def test_a_photo_of_the_example_lies_on_its_side(catalogue: Path) -> None:
    with Image.open(catalogue / "photos" / "lamp.jpg") as photo:
        assert photo.width > photo.height
        assert photo.getexif()[0x0112] == 6


def test_a_second_night_buys_nothing_and_a_third_what_changed(
    cli: Cli, catalogue: Path, account: dict[str, str]
) -> None:
    first = cli("submit", "nightly-catalog.yaml", "--yes", "--json", env=account)
    assert (first.code, first.json["jobs"]["completed"], first.json["credits"]["spent"]) == (0, 14, "552"), first.stderr

    second = cli("submit", "nightly-catalog.yaml", "--json", env=account)
    assert (second.code, second.json["jobs"]["completed"], second.json["credits"]["spent"]) == (0, 14, "0")
    reused = cli("jobs", second.json["batch"], "--json", env=account).json
    assert {job["reused_from"] for job in reused} == {first.json["batch"]}

    rows = catalogue / "products.csv"
    rows.write_text(rows.read_text().replace("vase-03,tall vase,red", "vase-03,tall vase,white"))
    compared = cli("plan", "nightly-catalog.yaml", "--compare", "--json", env=account).json
    assert compared["estimate"]["credits"] == "78"
    changed = {job["job"]: job["fields"] for job in compared["compare"]["jobs"] if job["is"] == "changed"}
    assert changed["vase-03-hero"] == ["prompt"]
    assert set(changed) == {"vase-03-hero", "vase-03-16x9", "vase-03-9x16"}
    third = cli("submit", "nightly-catalog.yaml", "--yes", "--json", env=account)
    assert (third.code, third.json["credits"]["spent"]) == (0, "78")

    [index] = (catalogue / "output").rglob("index.csv")
    listed = list(csv.DictReader(io.StringIO(index.read_text())))
    assert len(listed) == 14
    assert {row["colour"] for row in listed if row["sku"] == "vase-03"} == {"white"}
