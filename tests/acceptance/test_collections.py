"""A collection from night to night, as its users have it: reuse, comparison, report, review, export, pruning."""

import json

from tests.acceptance.conftest import MUG, Cli


def test_a_second_night_buys_nothing_and_asks_nothing(cli: Cli, account: dict[str, str]) -> None:
    file = cli.manifest("nights", [MUG])
    assert cli("submit", file, "--yes", "--json", env=account).code == 0
    second = cli("submit", file, "--json", env=account)  # no --yes: there is nothing to agree to
    assert (second.code, second.json["reused"], second.json["credits"]["spent"]) == (0, 1, "0")
    told = cli("submit", file, env=account)
    assert "collection: 1 reused" in told.stderr
    assert "total" not in told.stderr, "a table of nothing"
    assert "1 completed, of 1 (1 reused)" in told.stdout
    assert "are copied" not in told.stderr
    moved = cli("submit", file, env=account | {"ORCHESTRATOR_DESTINATION": str(cli.folder / "elsewhere")})
    assert "collection: 1 reused; the files of 1 job are copied from " in " ".join(moved.stderr.split())
    compared = cli("plan", file, "--compare", "--json", env=account).json
    assert (compared["estimate"]["credits"], compared["compare"]["counts"]["reused"]) == ("0", 1)
    again = cli("submit", file, "--again", "--json", env=account)
    assert (again.code, again.json["error"]["code"]) == (3, "refused")


def test_what_comes_out_goes_in_again(cli: Cli) -> None:
    file = cli.manifest("outs", [MUG])
    cli("submit", file, "--sandbox", "--json")
    (cli.folder / "again.yaml").write_text(cli("export", "outs", "--manifest").stdout)
    assert cli("submit", "again.yaml", "--sandbox", "--json").json["reused"] == 1
    assert cli("export", "outs", "--json").json[0]["prompt"] == MUG["prompt"]
    assert cli("export", "outs").stdout.startswith("id,type,model,prompt,state,reused_from,fingerprint,spent,")
    assert cli("export", "outs", "--csv", "--manifest").code == 2
    assert cli("prune", "--older-than", "30d", "--json").json["copies"] == 0


def test_what_a_report_shows_is_decided_and_carried_out_once(cli: Cli, account: dict[str, str]) -> None:
    jobs = [MUG, MUG | {"id": "cup", "prompt": "A cup"}]
    batch = cli("submit", cli.manifest("seen", jobs), "--yes", "--json", env=account).json["batch"]
    report = cli("report", batch, "--html", "seen.html", "--json")
    assert (report.code, report.json["thumbnails"], (cli.folder / "seen.html").is_file()) == (0, 2, True)
    shown = {job["id"]: job["assets"][0]["sha256"] for job in cli("jobs", batch, "--json").json}
    said = {"mug": "take", "cup": "reject"}
    decided = [{"job": job, "asset_sha256": shown[job], "decision": word} for job, word in said.items()]
    file = cli.folder / "decisions.json"
    file.write_text(json.dumps({"version": 1, "batch": batch, "decisions": decided}))
    refused = cli("review", "apply", "decisions.json", env=account)
    assert (refused.code, "other takes of mug: 14 credits" in refused.stderr) == (3, True)
    applied = cli("review", "apply", "decisions.json", "--yes", "--json", env=account)
    assert (applied.code, [take["credits"]["spent"] for take in applied.json["take_batches"]]) == (0, ["14"])
    again = cli("review", "apply", "decisions.json", env=account)  # no --yes: there is nothing to agree to
    assert (again.code, "2 of them were carried out before" in again.stdout) == (0, True)
    file.write_text(json.dumps({"version": 1, "batch": batch, "decisions": [decided[0] | {"job": "mag"}]}))
    wrong = cli("review", "apply", "decisions.json", "--json", env=account)
    assert (wrong.code, wrong.json["errors"][0]["code"]) == (2, "unknown-job")
