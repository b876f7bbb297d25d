"""`plan -o` and `submit PLAN`: what was seen is what runs."""

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MUG, Cli

RED = Path(__file__).resolve().parents[1] / "golden" / "media" / "red.png"


def catalogue_with_price(cli: Cli, credits_needed: str) -> None:
    """From now on the catalogue in use has this price for the mug."""
    bundled = files("orchestrator.catalog").joinpath("snapshot.json").read_text(encoding="utf-8")
    document = json.loads(bundled)
    document["models"]["gpt-image-2"]["credits"] = credits_needed
    (cli.home / "catalog.json").write_text(json.dumps(document))


@pytest.fixture
def saved(cli: Cli, request: pytest.FixtureRequest) -> str:
    """A saved plan of one job with a local picture, within 5 % of the price; its name tells nothing."""
    shutil.copy(RED, cli.folder / "red.png")
    (cli.home / "catalog.json").unlink(missing_ok=True)
    name = request.node.name.replace("_", "-")[-60:].strip("-")
    file = cli.manifest(name, [MUG | {"image_urls": ["red.png"]}], price_tolerance="5%")
    result = cli("plan", file, "-o", f"{name}.plan")
    assert (result.code, f"orchestrator submit {name}.plan" in result.stderr) == (0, True)
    return f"{name}.plan"


def errors(document: dict[str, Any]) -> list[str]:
    return [error["code"] for error in document["errors"]]


def test_it_runs_what_was_seen(cli: Cli, saved: str, account: dict[str, str]) -> None:
    manifest = cli.manifest(saved.removesuffix(".plan"), [MUG, MUG | {"id": "another"}])
    result = cli("submit", saved, "--yes", "--json", env=account)
    assert result.code == 0
    assert f"{manifest} was changed since" in result.stderr
    (job,) = cli("jobs", result.json["batch"], "--json").json
    assert (job["id"], job["state"], job["credits"]["spent"]) == ("mug", "completed", "14")


def test_it_is_shown_again(cli: Cli, saved: str) -> None:
    again = cli("plan", saved, "--json")
    assert (again.code, again.stderr) == (0, "")
    assert again.json == cli("plan", saved.replace(".plan", ".json"), "--json").json


def test_a_price_is_told_or_refused(cli: Cli, saved: str, account: dict[str, str]) -> None:
    catalogue_with_price(cli, "14.7")
    told = cli("plan", saved, "--json")
    assert (told.code, errors(told.json), told.json["estimate"]["credits"]) == (0, [], "14.7")
    assert [warning["code"] for warning in told.json["warnings"]] == ["price-changed"]
    catalogue_with_price(cli, "14.8")
    for command in (["plan", saved], ["submit", saved, "--yes"]):
        refused = cli(*command, env=account)
        assert refused.code == 3
        assert "gpt-image-2 costs 14.8 credits now, 14 when the plan was made" in refused.stderr
        scripted = cli(*command, "--json", env=account)
        assert (scripted.code, errors(scripted.json)) == (3, ["price-changed"])
    assert saved.removesuffix(".plan") not in {batch["name"] for batch in cli("status", "--json").json}


def test_an_edited_plan_and_changed_media_are_refused(cli: Cli, saved: str) -> None:
    plan = cli.folder / saved
    seen = plan.read_text()
    plan.write_text(seen.replace("A ceramic mug", "A golden mug"))
    for content, said in ((plan.read_text(), "its digest does not fit"), (seen[:-30], "is cut short")):
        plan.write_text(content)
        result = cli("submit", saved, "--sandbox")
        assert result.code == 2
        assert said in result.stderr
        assert "orchestrator plan MANIFEST -o FILE" in result.stderr
    plan.write_text(seen)
    (cli.folder / "red.png").write_bytes(b"not what it was")
    changed = cli("submit", saved, "--sandbox", "--json")
    assert (changed.code, errors(changed.json)) == (2, ["media-changed"])
    (cli.folder / "red.png").unlink()
    gone = cli("submit", saved, "--sandbox", "--json")
    assert (gone.code, errors(gone.json)) == (2, ["media-file-missing"])


def test_nothing_else_is_overwritten(cli: Cli, saved: str) -> None:
    manifest = saved.replace(".plan", ".json")
    before = (cli.folder / manifest).read_text()
    for target in (manifest, "."):
        result = cli("plan", manifest, "-o", target)
        assert result.code == 2
        assert "is no saved plan" in result.stderr
    assert (cli.folder / manifest).read_text() == before
    assert cli("plan", manifest, "-o", saved).code == 0
    assert cli("plan", manifest, "--max-credits", "1", "-o", "dear.plan").code == 3
    assert not (cli.folder / "dear.plan").exists()
