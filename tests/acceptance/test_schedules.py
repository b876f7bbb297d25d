"""`schedule` as its users have it."""

from tests.acceptance.conftest import MUG, Cli

TIMES = ["--cron", "0 2 * * *", "--tz", "Europe/Berlin"]
BUDGET = {"credits": 100}


def test_a_manifest_is_scheduled_listed_paused_and_removed(cli: Cli, account: dict[str, str]) -> None:
    manifest = cli.manifest("nightly", [MUG], budget=BUDGET)
    added = cli("schedule", "add", manifest, *TIMES, "--json", env=account)
    assert (added.code, added.json["name"], added.json["state"]) == (0, "nightly", "active"), added.stderr
    assert added.json["manifest"] == str((cli.folder / manifest).resolve())
    assert "14 credits" in added.stderr
    again = cli("schedule", "add", manifest, *TIMES, "--json", env=account)
    assert (again.code, again.json["error"]["code"]) == (2, "usage")
    assert "schedule apply" in again.json["error"]["hint"]
    listed = cli("schedule", "list", env=account)
    assert listed.code == 0
    assert "nightly" in listed.stdout
    assert "0 2 * * * Europe/Berlin" in listed.stdout
    paused = cli("schedule", "pause", "nightly", "--json", env=account)
    assert (paused.code, paused.json["state"], paused.json["next_slot"]) == (0, "paused", None)
    assert "paused" in cli("schedule", "list", env=account).stdout
    assert cli("schedule", "resume", "nightly", "--json", env=account).json["next_slot"] == added.json["next_slot"]
    assert cli("schedule", "remove", "nightly", env=account).code == 0
    assert cli("schedule", "list", "--json", env=account).json == []
    assert cli("schedule", "pause", "nightly", env=account).code == 2


def test_what_a_schedule_needs_is_said(cli: Cli, account: dict[str, str]) -> None:
    without_budget = cli("schedule", "add", cli.manifest("free", [MUG]), *TIMES, env=account)
    assert without_budget.code == 3
    assert "budget: {credits: 500}" in without_budget.stderr
    without_times = cli("schedule", "add", cli.manifest("timeless", [MUG], budget=BUDGET), env=account)
    assert without_times.code == 2
    assert 'schedule: {cron: "0 2 * * *"' in without_times.stderr
    over = cli("schedule", "add", cli.manifest("dear", [MUG], budget={"credits": 13}), *TIMES, env=account)
    assert over.code == 3
    assert "over-budget" in over.stderr
    broken = cli("schedule", "add", cli.manifest("broken", [{"id": "x"}], budget=BUDGET), *TIMES, "--json", env=account)
    assert (broken.code, broken.json["valid"]) == (2, False)
    odd = cli("schedule", "add", cli.manifest("odd", [MUG], budget=BUDGET), "--cron", "hourly", env=account)
    assert odd.code == 2
    assert "five fields" in odd.stderr
    assert cli("schedule", "add", cli.manifest("nobody", [MUG], budget=BUDGET), *TIMES).code == 4
    assert cli("schedule", "list", "--json", env=account).json == []


def test_run_now_prices_asks_and_buys_what_is_new(cli: Cli, account: dict[str, str]) -> None:
    manifest = cli.manifest("tonight", [MUG], budget=BUDGET)
    assert cli("schedule", "add", manifest, *TIMES, env=account).code == 0
    refused = cli("schedule", "run-now", "tonight", env=account)
    assert refused.code == 3
    assert "spends up to 14 credits" in refused.stderr
    bought = cli("schedule", "run-now", "tonight", "--yes", "--json", env=account)
    assert (bought.code, bought.json["state"], bought.json["credits"]["spent"]) == (0, "completed", "14")
    again = cli("schedule", "run-now", "tonight", "--json", env=account)
    assert (again.code, again.json["credits"]["spent"]) == (0, "0"), again.stderr
    [listed] = cli("schedule", "list", "--json", env=account).json
    assert (listed["last"]["state"], listed["last"]["batch_state"]) == ("submitted", "completed")
    assert listed["last"]["batch"] == again.json["batch"]
    assert again.json["batch"] in cli("schedule", "list", env=account).stdout
