"""A second run of a manifest brings its collection up to it, and buys only what is not there."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from orchestrator.assets.errors import DestinationFailed
from orchestrator.base.errors import ManifestError, SpendRefused, UsageError
from orchestrator.operations import looking, running
from orchestrator.operations.comparing import compare_with_collection
from orchestrator.operations.planning import plan
from orchestrator.operations.resolving import resolve
from orchestrator.operations.retrying import retry
from orchestrator.operations.steering import reject
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.planner.compare import Comparison
from orchestrator.planner.result import Plan
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site

REAL = SubmitOptions()
AGAIN = SubmitOptions(again=True)
PRICE = "3"  # of one image of model gen


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def write(site: Site, prompts: dict[str, str], name: str = "things", **more: Any) -> Path:
    """The manifest of a collection with one image for each prompt."""
    file = site.folder / f"{name}.json"
    jobs = [{"id": job, "model": "gen", "prompt": text, "aspect_ratio": "1:1"} for job, text in prompts.items()]
    file.write_text(json.dumps({"version": 1, "name": name, "jobs": jobs} | more))
    return file


def submit_file(site: Site, file: Path, options: SubmitOptions = REAL) -> dict[str, Any]:
    return submit(file, site.settings, options, confirm=lambda _: True)


def run(site: Site, options: SubmitOptions = REAL, /, *, name: str = "things", **prompts: str) -> dict[str, Any]:
    return submit_file(site, write(site, prompts, name), options)


def never(_: Plan) -> bool:
    raise AssertionError("nothing is bought, so nothing is asked")


def jobs(site: Site, document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {job["id"]: job for job in site.jobs_of(document["batch"])}


def states(site: Site, document: dict[str, Any]) -> dict[str, str]:
    return {name: job["state"] for name, job in jobs(site, document).items()}


def file_of(job: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(job["assets"][0]["uri"]).path))


def posts(site: Site) -> int:
    return len([entry for entry in site.sandbox.ledger() if entry.kind == "charge"])


def compared(site: Site, prompts: dict[str, str]) -> Comparison:
    return compare_with_collection(plan(write(site, prompts), site.settings), site.settings)


def compared_errors(error: ManifestError) -> list[dict[str, Any]]:
    errors = error.document["errors"]
    assert isinstance(errors, list)
    return errors


def standings(comparison: Comparison) -> dict[str, str]:
    return {verdict.job.id: str(verdict.standing) for verdict in comparison.verdicts}


def test_an_unchanged_manifest_buys_nothing(site: Site) -> None:
    first = run(site, mug="A mug", cup="A cup")
    charged = posts(site)
    file = write(site, {"mug": "A mug", "cup": "A cup"})
    second = submit(file, site.settings, REAL, confirm=never)
    assert (second["state"], running.exit_code(second), posts(site)) == ("completed", 0, charged)
    assert second["credits"] | {"budget": None} == {
        "estimated": "0", "reserved": "0", "spent": "0", "in_doubt": "0", "lost": "0", "budget": None,
    }  # fmt: skip
    assert (second["jobs"]["completed"], second["reused"]) == (2, 2)
    for name, job in jobs(site, second).items():
        before = jobs(site, first)[name]
        assert job["reused_from"] == first["batch"]
        assert (job["assets"], job["credits"]["spent"], job["attempts"]) == (before["assets"], "0", 0)
    third = submit(file, site.settings, REAL, confirm=never)
    assert {job["reused_from"] for job in jobs(site, third).values()} == {first["batch"]}


def test_a_night_that_buys_nothing_leaves_the_index_as_it_is(site: Site) -> None:
    run(site, mug="A mug")
    index = (site.out / "things" / "index.json").read_bytes()
    run(site, mug="A mug")
    assert (site.out / "things" / "index.json").read_bytes() == index


def test_only_new_and_changed_jobs_are_bought(site: Site) -> None:
    first = run(site, mug="A mug", cup="A cup", jug="A jug")
    asked: list[Plan] = []

    def agree(bought: Plan) -> bool:
        asked.append(bought)
        return True

    file = write(site, {"mug": "A mug", "cup": "A better cup", "pot": "A pot"})
    second = submit(file, site.settings, REAL, confirm=agree)
    assert [job.id for job in asked[0].jobs] == ["cup", "pot"]
    assert (second["credits"]["estimated"], second["credits"]["spent"]) == ("6", "6")
    assert jobs(site, second)["mug"]["assets"] == jobs(site, first)["mug"]["assets"]
    index = json.loads((site.out / "things" / "index.json").read_text())
    assert {asset["job"]: asset["prompt"] for asset in index["assets"]} == {
        "mug": "A mug", "cup": "A better cup", "pot": "A pot",
    }  # fmt: skip
    assert file_of(jobs(site, first)["jug"]).exists()  # it left the index; its file stays


def test_a_new_name_is_no_new_job(site: Site) -> None:
    run(site, mug="A mug")
    second = run(site, beaker="A mug")
    assert (second["credits"]["spent"], second["reused"]) == ("0", 1)


@pytest.mark.parametrize("harm", ["gone", "touched"])
def test_a_file_that_is_gone_or_was_changed_is_bought_again(site: Site, harm: str) -> None:
    first = run(site, mug="A mug", cup="A cup")
    file = file_of(jobs(site, first)["mug"])
    if harm == "gone":
        file.unlink()
    else:
        file.rename(file.with_suffix(".old"))
        file.write_bytes(b"touched up")
    comparison = compared(site, {"mug": "A mug", "cup": "A cup"})
    assert standings(comparison) == {"mug": "asset-missing", "cup": "reused"}
    second = run(site, mug="A mug", cup="A cup")
    assert (second["credits"]["spent"], second["reused"]) == (PRICE, 1)


@pytest.mark.parametrize("tonight", ["A mug", "A better mug"])
def test_a_destination_that_is_not_mounted_is_no_reason_to_buy(site: Site, tonight: str) -> None:
    run(site, mug="A mug", cup="A cup")
    away = site.out.rename(site.folder / "away")
    for prompts in ({"mug": tonight, "cup": "A cup"}, {"mug": tonight}):
        with pytest.raises(DestinationFailed, match="nothing of what things has stored in") as failed:
            submit(write(site, prompts), site.settings, REAL, confirm=never)
        assert (failed.value.exit_code, posts(site), site.out.exists()) == (4, 2, False)
        assert failed.value.hint is not None
        assert "--again" in failed.value.hint
    away.rename(site.out)
    assert run(site, mug="A mug", cup="A cup")["reused"] == 2


def test_the_only_file_that_is_gone_is_bought_again_where_the_index_is(site: Site) -> None:
    """Its destination is there, so someone has removed it."""
    (job,) = jobs(site, run(site, mug="A mug")).values()
    file_of(job).unlink()
    assert standings(compared(site, {"mug": "A mug"})) == {"mug": "asset-missing"}
    assert (run(site, mug="A mug")["credits"]["spent"], posts(site)) == (PRICE, 2)


def test_again_buys_all_of_a_destination_that_is_gone(site: Site) -> None:
    run(site, mug="A mug")
    shutil.rmtree(site.out)
    assert run(site, AGAIN, mug="A mug")["credits"]["spent"] == PRICE
    assert run(site, mug="A mug")["reused"] == 1


def test_what_was_refused_or_moderated_is_not_sent_every_night(site: Site) -> None:
    prompts = {"bad": "Bad [sandbox:moderation]", "broken": "Broken [sandbox:fail]", "mug": "A mug"}
    first = submit_file(site, write(site, prompts))
    assert first["state"] == "partial_failure"
    comparison = compared(site, prompts)
    assert standings(comparison) == {"bad": "failed-before", "broken": "retried", "mug": "reused"}
    second = submit_file(site, write(site, prompts))
    assert states(site, second) == {"bad": "skipped", "broken": "failed", "mug": "completed"}
    error = jobs(site, second)["bad"]["error"]
    assert (error["code"], error["charged"]) == ("moderation", False)
    assert f"failed in {first['batch']} (moderation) and has not changed" in error["message"]
    with pytest.raises(UsageError, match="was skipped: failed in ") as refused:
        retry(second["batch"], site.settings, job="bad", confirm=lambda _: True)
    assert refused.value.hint == "to send it all the same: orchestrator submit MANIFEST --again --job bad"
    third = run(site, bad="Bad [sandbox:moderation]", mug="A mug")
    assert (third["state"], running.exit_code(third), third["credits"]["spent"]) == ("completed", 0, "0")


def test_again_buys_what_is_there(site: Site) -> None:
    run(site, mug="A mug", cup="A cup")
    one = run(site, replace(AGAIN, again_jobs=("mug",)), mug="A mug", cup="A cup")
    assert (one["credits"]["spent"], one["reused"]) == (PRICE, 1)
    everything = run(site, AGAIN, mug="A mug", cup="A cup")
    assert (everything["credits"]["spent"], everything["reused"]) == ("6", 0)
    newest = run(site, mug="A mug", cup="A cup")
    assert {job["reused_from"] for job in jobs(site, newest).values()} == {everything["batch"]}


def test_what_is_bought_again_has_to_be_in_the_manifest(site: Site) -> None:
    with pytest.raises(UsageError, match="did you mean `mug`"):
        run(site, replace(AGAIN, again_jobs=("mugg",)), mug="A mug")
    with pytest.raises(UsageError, match="--again is not given"):
        run(site, SubmitOptions(again_jobs=("mug",)), mug="A mug")


def test_the_budget_is_for_what_is_bought(site: Site) -> None:
    prompts = {f"job-{n}": f"A thing {n}" for n in range(3)}
    submit_file(site, write(site, prompts))
    file = write(site, prompts | {"more": "One more"}, budget={"credits": 4})
    assert submit_file(site, file)["credits"]["spent"] == PRICE
    file = write(site, prompts | {"two": "Two", "three": "Three"}, budget={"credits": 4})
    with pytest.raises(ManifestError, match="1 error; nothing was stored or sent") as failed:
        submit(file, site.settings, REAL, confirm=never)
    (error,) = compared_errors(failed.value)
    assert (failed.value.exit_code, error["code"]) == (3, "over-budget")
    assert "what is to be bought costs 6 credits" in error["message"]


def test_the_canary_is_the_first_of_what_is_bought(site: Site) -> None:
    run(site, mug="A mug", cup="A cup")
    second = run(site, SubmitOptions(canary=1), mug="A mug", cup="A cup", jug="A jug", pot="A pot")
    assert second["state"] == "held"
    assert states(site, second) == {"mug": "completed", "cup": "completed", "jug": "completed", "pot": "waiting"}


def test_another_collection_has_results_of_its_own(site: Site) -> None:
    first = run(site, mug="A mug")
    assert run(site, name="others", mug="A mug")["credits"]["spent"] == PRICE
    assert first["batch"] != jobs(site, run(site, name="others", mug="A mug"))["mug"]["reused_from"]


def test_another_destination_gets_the_files_that_are_there(site: Site, tmp_path: Path) -> None:
    first = run(site, mug="A mug")
    elsewhere = tmp_path / "elsewhere"
    file = write(site, {"mug": "A mug"}, destination=str(elsewhere))
    second = submit(file, site.settings, REAL, confirm=never)
    moved = file_of(jobs(site, second)["mug"])
    assert moved.is_relative_to(elsewhere)
    assert moved.read_bytes() == file_of(jobs(site, first)["mug"]).read_bytes()
    assert json.loads((elsewhere / "things" / "index.json").read_text())["assets"][0]["uri"] == moved.as_uri()
    shutil.rmtree(site.out)
    third = submit(file, site.settings, REAL, confirm=never)
    assert file_of(jobs(site, third)["mug"]) == moved


def test_a_comparison_says_what_changed_and_what_is_gone(site: Site) -> None:
    run(site, mug="A mug", cup="A cup", jug="A jug")
    document = compared(site, {"mug": "A mug", "cup": "A better cup", "pot": "A pot"}).document()
    assert (document["jobs"], document["reused"], document["skipped"]) == (3, 1, 0)
    assert document["estimate"]["credits"] == "6"
    told = {entry["job"]: (entry["is"], entry["fields"]) for entry in document["compare"]["jobs"]}
    assert told == {"mug": ("reused", []), "cup": ("changed", ["prompt"]), "pot": ("new", [])}
    assert document["compare"]["removed"] == ["jug"]
    counts = {name: count for name, count in document["compare"]["counts"].items() if count}
    assert counts == {"reused": 1, "changed": 1, "new": 1, "removed": 1}


def test_a_result_that_comes_while_one_is_asked_is_not_bought_twice(site: Site) -> None:
    file = write(site, {"mug": "A mug"})

    def answer_late(_: Plan) -> bool:
        submit(file, site.settings, REAL, confirm=lambda _: True)
        return True

    with pytest.raises(SpendRefused, match="another run of things bought the same"):
        submit(file, site.settings, REAL, confirm=answer_late)
    assert posts(site) == 1


def test_a_retry_that_ends_as_it_began_while_one_is_asked_is_noticed(site: Site) -> None:
    file = write(site, {"mug": "A mug [sandbox:fail]"})
    first = submit_file(site, file)

    def answer_late(_: Plan) -> bool:
        again = retry(first["batch"], site.settings, confirm=lambda *_: True)
        assert again["state"] == first["state"] == "failed"
        return True

    with pytest.raises(SpendRefused, match="another run of things bought the same"):
        submit(file, site.settings, REAL, confirm=answer_late)


def test_what_is_in_doubt_is_not_bought_again(site: Site) -> None:
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    first = run(site, mug="A mug")
    assert first["state"] == "held"
    assert standings(compared(site, {"mug": "A mug"})) == {"mug": "in-doubt"}
    second = run(site, SubmitOptions(alongside=True), mug="A mug", cup="A cup")
    assert states(site, second) == {"mug": "skipped", "cup": "completed"}


def test_a_lost_payment_is_never_bought_twice_more(site: Site) -> None:
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    first = run(site, mug="A mug")
    resolve(first["batch"], "mug", site.settings, "charged")
    night = submit(write(site, {"mug": "A mug"}), site.settings, REAL, confirm=never)
    assert (states(site, night), posts(site)) == ({"mug": "skipped"}, 1)
    again = run(site, replace(AGAIN, again_jobs=("mug",)), mug="A mug")
    assert (states(site, again), posts(site)) == ({"mug": "completed"}, 2)
    settled = resolve(first["batch"], "mug", site.settings, "not-charged")
    assert (settled["state"], states(site, settled)) == ("completed", {"mug": "skipped"})
    assert jobs(site, settled)["mug"]["error"]["message"] == f"left to {again['batch']}, which has the same job"


def test_sandboxes_share_what_they_made(site: Site) -> None:
    run(site, SubmitOptions(sandbox=True), mug="A mug")
    second = run(site, SubmitOptions(sandbox=True), mug="A mug")
    assert (second["credits"]["spent"], second["reused"]) == ("0", 1)
    assert run(site, mug="A mug")["credits"]["spent"] == PRICE  # a stand-in is no result
    shutil.rmtree(site.out)
    assert run(site, SubmitOptions(sandbox=True), mug="A mug")["reused"] == 0


@pytest.mark.parametrize("sandbox", [False, True])
def test_a_call_that_is_repeated_under_its_key_gives_the_batch_that_it_gave(site: Site, sandbox: bool) -> None:
    options = SubmitOptions(key="night-22", sandbox=sandbox)
    first = run(site, options, mug="A mug")
    assert submit(write(site, {"cup": "A cup"}), site.settings, options, confirm=never)["batch"] == first["batch"]
    assert run(site, replace(options, key="night-23"), cup="A cup")["credits"]["spent"] == PRICE


def test_results_are_looked_for_where_the_manifest_says(site: Site) -> None:
    run(site, mug="A mug")
    nowhere = write(site, {"mug": "A mug"}, reuse="none")
    assert submit_file(site, nowhere)["credits"]["spent"] == PRICE
    everywhere = write(site, {"mug": "A mug"}, "others", reuse="all")
    other = submit(everywhere, site.settings, REAL, confirm=never)
    assert other["reused"] == 1
    assert Path(jobs(site, other)["mug"]["assets"][0]["uri"]).parts[-3:-1] == ("things", "mug")


def test_a_detached_batch_with_nothing_to_send_is_completed_at_once(site: Site) -> None:
    run(site, mug="A mug", cup="A cup")
    file = write(site, {"mug": "A mug"})
    document = submit(file, site.settings, SubmitOptions(detach=True), confirm=never)
    assert document["state"] == "completed"
    index = json.loads((site.out / "things" / "index.json").read_text())
    assert [asset["job"] for asset in index["assets"]] == ["mug"]


def test_a_chain_is_reused_link_by_link(site: Site) -> None:
    frame = {"first_frame_image_url": {"from": "mug"}}
    clip = {"id": "spin", "model": "seedance-2-0", "duration_seconds": 5, "aspect_ratio": "16:9"}
    mug = {"id": "mug", "model": "gpt-image-2", "prompt": "A mug", "aspect_ratio": "1:1"}

    def manifest(turn: str) -> Path:
        file = site.folder / "chain.json"
        links = [mug, clip | {"prompt": turn, "video_image_data": frame}]
        file.write_text(json.dumps({"version": 1, "name": "things", "jobs": links}))
        return file

    submit_file(site, manifest("A slow turn"))
    assert submit(manifest("A slow turn"), site.settings, REAL, confirm=never)["reused"] == 2
    document = submit_file(site, manifest("A quick turn"))
    assert (document["state"], document["reused"], document["credits"]["spent"]) == ("completed", 1, "200")


def write_chain(site: Site, picture: str = "A mug", turn: str = "A turn", **mug: Any) -> Path:
    """The manifest of a picture, and a video made from it."""
    file = site.folder / "chain.json"
    hero = {"id": "mug", "model": "gen", "prompt": picture, "aspect_ratio": "1:1"} | mug
    clip = {"id": "spin", "model": "seedance-2-0", "duration_seconds": 5, "aspect_ratio": "16:9", "prompt": turn}
    clip |= {"video_image_data": {"first_frame_image_url": {"from": "mug"}}}
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": [hero, clip]}))
    return file


def test_what_needs_a_job_that_is_left_out_costs_nothing(site: Site) -> None:
    file = write_chain(site, "A mug [sandbox:moderation]")
    submit_file(site, file)
    second = submit(file, site.settings, SubmitOptions(detach=True), confirm=never)
    assert (second["state"], second["credits"]["estimated"]) == ("completed", "0")
    assert states(site, second) == {"mug": "skipped", "spin": "skipped"}
    error = jobs(site, second)["spin"]["error"]
    assert (error["code"], error["message"]) == ("dependency-failed", "it needs mug, which is left out")


def test_a_video_is_made_anew_from_a_picture_that_is(site: Site) -> None:
    file = write_chain(site)
    first = submit_file(site, file)
    second = submit_file(site, file, replace(AGAIN, again_jobs=("mug",)))
    assert (second["reused"], second["credits"]["spent"]) == (0, "203")
    for document in (first, second):
        file_of(jobs(site, document)["mug"]).unlink()
    assert submit_file(site, file)["credits"]["spent"] == "203"


def test_a_rejected_result_stays_rejected_night_after_night(site: Site) -> None:
    file = write_chain(site, gate="manual")
    first = submit_file(site, file)
    assert first["state"] == "held"
    reject(first["batch"], site.settings, job="mug")
    for _ in range(2):
        night = submit(file, site.settings, SubmitOptions(beside_held=True), confirm=never)
        assert (night["state"], night["credits"]["estimated"], night["holds"]) == ("completed", "0", [])
        assert jobs(site, night)["spin"]["error"]["message"] == "it needs mug, whose result was rejected"
    again = submit_file(site, file, replace(AGAIN, again_jobs=("mug",)))
    assert [hold["code"] for hold in again["holds"]] == ["gate"]


def write_rows(site: Site, rows: str, **more: Any) -> Path:
    (site.folder / "products.csv").write_text(rows)
    job = {"id": "{{ sku }}", "for_each": "products.csv", "prompt": "A {{ name }}", "model": "gen"}
    file = site.folder / "rows.json"
    jobs = [job | {"aspect_ratio": "{{ shape }}"}]
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": jobs} | more))
    return file


def test_the_index_has_the_columns_of_rows_as_they_are_now(site: Site) -> None:
    submit_file(site, write_rows(site, "sku,name,shape,shelf\nmug,mug,1:1,7\n"))
    file = write_rows(site, "sku,name,shape,shelf\nmug,mug,1:1,9\n")
    assert submit(file, site.settings, REAL, confirm=never)["reused"] == 1
    with (site.out / "things" / "index.csv").open(newline="") as index:
        (row,) = csv.DictReader(index)
    assert (row["job"], row["sku"], row["shelf"], row["credits"]) == ("mug", "mug", "9", PRICE)


def test_rows_that_are_bad_are_rejected_jobs_and_the_others_run(site: Site) -> None:
    rows = "sku,name,shape\nmug,mug,1:1\ncup,cup,5:5\njug,jug,1:1\n"
    document = submit_file(site, write_rows(site, rows, on_invalid={"skip_at_most": "40%"}))
    assert states(site, document) == {"mug": "completed", "cup": "rejected", "jug": "completed"}
    assert (document["state"], running.exit_code(document)) == ("partial_failure", 1)
    error = jobs(site, document)["cup"]["error"]
    assert error["message"].startswith("unsupported-aspect-ratio: ")
    assert error["message"].endswith("(products.csv, row 3)")
    with pytest.raises(UsageError, match=r"nothing to retry: what failed in .* was left out for its row") as refused:
        retry(document["batch"], site.settings, confirm=lambda _: True)
    assert refused.value.hint == "mend the rows, and submit the manifest again"


def test_what_a_held_batch_did_not_send_is_bought_once(site: Site) -> None:
    first = run(site, SubmitOptions(canary=1), mug="A mug", cup="A cup", pot="A pot")
    assert first["state"] == "held"
    second = run(site, SubmitOptions(beside_held=True), mug="A mug", cup="A cup")
    assert (second["state"], second["credits"]["spent"]) == ("completed", PRICE)
    assert states(site, first) == {"mug": "completed", "cup": "skipped", "pot": "waiting"}
    assert jobs(site, first)["cup"]["error"]["message"] == f"left to {second['batch']}, which has the same job"
    assert looking.status(first["batch"], site.settings)["state"] == "held"
