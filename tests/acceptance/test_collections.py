"""A collection from night to night, as its users have it: reuse, comparison, export, pruning."""

from tests.acceptance.conftest import MUG, Cli


def test_a_second_night_buys_nothing_and_asks_nothing(cli: Cli, account: dict[str, str]) -> None:
    file = cli.manifest("nights", [MUG])
    assert cli("submit", file, "--yes", "--json", env=account).code == 0
    second = cli("submit", file, "--json", env=account)  # no --yes: there is nothing to agree to
    assert (second.code, second.json["reused"], second.json["credits"]["spent"]) == (0, 1, "0")
    told = cli("submit", file, env=account)
    assert "collection: 1 reused" in told.stderr
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
