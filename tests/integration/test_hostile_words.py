"""Words that were not meant well go through a whole batch: nothing leaves its place, and nothing is run or lost."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.base.errors import ManifestError
from orchestrator.operations.submitting import submit
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site

#: Job ids and prompts: ways out of the folder, names that meet on other file systems, formulas, markup, direction
#: marks, line breaks, quotes for SQL and for JSON, and a very long one.
HOSTILE = {
    "../../etc/passwd": "../../../../etc/passwd",
    "..": "a\nb\r\nc\u2028d\u0085e",
    "mug": '=HYPERLINK("http://127.0.0.1/", "click")',
    "MUG": "@SUM(1+1)*cmd|' /C calc'!A0",
    "con.png": "<script>alert(1)</script>",
    "-rf *": "'); DROP TABLE job; --",
    "\u202egnp.exe": "\u202eright to left \u200f\u200b\ufeff",
    "%s{0}$HOME`id`": '"}], "price": 0, "x": "',
    "=1+1": "x" * 200_000,
    "日本 😀": "\\u0000 is not a NUL, and \\ is a backslash",
}


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.01) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def submitted(site: Site, words: dict[str, str]) -> dict[str, Any]:
    manifest = site.folder / "things.json"
    shape = {"model": "gen", "aspect_ratio": "1:1", "output_format": "png"}
    items = [{"id": name, "prompt": prompt} | shape for name, prompt in words.items()]
    manifest.write_text(json.dumps({"version": 1, "name": "things", "jobs": items}), encoding="utf-8")
    return submit(manifest, site.settings, confirm=lambda _: True)


def test_hostile_words_stay_words(site: Site) -> None:
    before = {path for path in site.folder.iterdir() if path != site.out}
    document = submitted(site, HOSTILE)
    assert (document["state"], document["jobs"]["completed"]) == ("completed", len(HOSTILE))
    assert sorted(entry.prompt for entry in site.sandbox.charges()) == sorted(HOSTILE.values()), "sent as they are"

    rows = json.loads((site.out / "things" / "index.json").read_text(encoding="utf-8"))["assets"]
    assert {row["job"]: row["prompt"] for row in rows} == HOSTILE
    keys = [row["key"].casefold() for row in rows]
    assert len(set(keys)) == len(HOSTILE), "kept apart where case does not count"
    stored = [path for path in site.out.rglob("*") if path.is_file()]
    assert len(stored) >= len(HOSTILE)
    assert all(path.resolve().is_relative_to(site.out.resolve()) for path in stored)
    after = {path for path in site.folder.iterdir() if path != site.out}
    assert {path.name for path in after - before} <= {"home", "things.json"}, "nothing was written elsewhere"
    csv.field_size_limit(1 << 20)
    with (site.out / "things" / "index.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("prompt", ["a\0b", "\ud800"], ids=["NUL", "half a surrogate pair"])
def test_what_no_text_can_hold_is_refused_with_its_place(site: Site, prompt: str) -> None:
    with pytest.raises(ManifestError):
        submitted(site, {"one": prompt})
    assert site.asked("stats")["posts"] == 0
