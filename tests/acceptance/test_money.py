"""Caps, budgets and the ledger, as their users have them: real runs against a provider."""

import csv
import io
import shlex
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.sandbox import Sandbox
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli

THREE = [{**MUG, "id": name} for name in ("a", "b", "c")]
Env = dict[str, str]


@pytest.fixture
def env(provider: Sandbox, request: pytest.FixtureRequest) -> Env:
    """A payer of this test's own: caps are an account's."""
    return {**CREDENTIALS, "KATANA_BASE_URL": provider.base_url, "KATANA_API_KEY": f"key-of-{request.node.name}"}


def pasted(cli: Cli, command: str, env: Env) -> Any:
    """Run a command that was shown to a person."""
    words = shlex.split(command)
    assert words[0] == "orchestrator"
    return cli(*words[1:], env=env)


def test_a_cap_refuses_a_submit_before_anything_is_stored(cli: Cli, env: Env, provider: Sandbox) -> None:
    charged = len(provider.charges())
    assert cli("budget", "set", "--daily", "41.9", env=env).code == 0
    file = cli.manifest("refused", THREE)
    refused = cli("submit", file, "--yes", "--json", env=env)
    assert refused.code == 3
    error = refused.json["error"]
    assert error["code"] == "over-budget"
    assert "daily cap of 41.9 credits has 41.9 left until" in error["message"]
    assert cli("status", "refused").code == 2
    assert len(provider.charges()) == charged
    assert pasted(cli, error["hint"].split("raise the cap: ")[1], env).code == 0
    assert cli("submit", file, "--yes", env=env).code == 0

    shown = cli("budget", "show", "--json", env=env).json
    assert shown["daily"].keys() == {"cap", "unit", "left", "used", "begins_at", "ends_at"}
    assert (shown["daily"]["cap"], shown["daily"]["unit"], shown["daily"]["left"]) == ("42", "credits", "0")
    assert shown["daily"]["used"] == {"credits": "42", "usd": "0.2184"}
    assert shown["monthly"]["cap"] is None
    assert shown["daily"]["ends_at"].endswith("T00:00:00Z")
    assert "nothing is left of the daily cap" in shown["notices"][0]


def test_a_cap_lowered_on_the_way_holds_and_its_command_lets_it_go_on(cli: Cli, env: Env) -> None:
    assert cli("submit", cli.manifest("lowered", THREE), "--yes", "--detach", env=env).code == 0
    assert cli("budget", "set", "--daily", "$0.1", "--monthly", "30", env=env).code == 0
    held = cli("resume", "lowered", "--yes", "--json", env=env)
    assert held.code == 3
    document = held.json
    assert (document["state"], document["credits"]["spent"]) == ("held", "14")
    (hold,) = document["holds"]
    assert hold["code"] == "budget-reached"
    assert "0.0728 usd, 0.0456 more than the daily cap of 0.1 usd has left" in hold["message"]
    assert hold["command"] == "orchestrator budget set --daily 0.2184usd --monthly 42credits"
    assert "is held: job b" in cli("budget", "show", env=env).stdout

    raised = pasted(cli, hold["command"], env)
    assert raised.code == 0
    assert "orchestrator resume lowered-" in raised.stderr
    assert cli("status", "lowered", "--json").json["state"] == "held"  # raising a cap lifts no hold
    assert cli("resume", "lowered", "--yes", env=env).code == 0


def test_a_batchs_budget_is_raised_and_lowered_but_never_below_what_is_used(cli: Cli, env: Env) -> None:
    assert cli("submit", cli.manifest("tight", THREE, budget={"credits": 42}), "--yes", "--detach", env=env).code == 0
    assert cli("budget", "set", "--batch", "tight", "--usd", "$0.105").code == 0  # 20.1 credits; needs no credentials
    held = cli("resume", "tight", "--yes", "--json", env=env).json
    assert held["credits"]["budget"] == "20.1"
    assert held["holds"][0]["message"] == "job b needs 14 credits, 7.9 more than the budget of 20.1 has left"
    below = cli("budget", "set", "--batch", "tight", "--credits", "13.9", "--json")
    assert below.code == 2
    assert "14 credits of tight-" in below.json["error"]["message"]
    raised = pasted(cli, held["holds"][0]["command"] + " --json", env).json
    assert raised["budget"] == {"credits": "42", "usd": "0.2184"}
    assert (raised["used"]["credits"], raised["left"]["credits"]) == ("14", "28")
    assert cli("resume", "tight", "--yes", env=env).code == 0


def test_a_cap_that_is_nearly_used_up_is_told(cli: Cli, env: Env) -> None:
    assert cli("submit", cli.manifest("near", THREE), "--yes", "--detach", env=env).code == 0
    assert cli("submit", cli.manifest("nearer", [MUG]), "--yes", env=env).code == 0
    assert cli("budget", "set", "--daily", "17", "--monthly", "1000", env=env).code == 0
    (cap,) = cli("status", "near", "--json").json["near_caps"]
    assert (cap["window"], cap["used"], cap["cap"], cap["unit"], cap["left"]) == ("daily", "14", "17", "credits", "3")
    for command in (["status", "near"], ["status"]):
        assert "daily cap: 14 of 17 credits used, 3 left" in cli(*command).stdout
    assert cli("budget", "set", "--daily", "none", "--monthly", "none", env=env).code == 0
    assert cli("resume", "near", "--yes", env=env).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--daily", "-5"], ["--daily", "NaN"], ["--daily", "much"], ["--monthly", "5 euros"], ["--daily", "1e5"], [],
        ["--credits", "5"], ["--usd", "5"], ["--batch", "x"], ["--batch", "x", "--credits", "5", "--usd", "5"],
        ["--batch", "x", "--credits", "5", "--daily", "5"], ["--batch", "x", "--credits", "none"],
        ["--batch", "x", "--credits", "5"], ["--batch", "x", "--credits", "5usd"],
    ],
)  # fmt: skip
def test_nonsense_is_refused(cli: Cli, env: Env, arguments: list[str]) -> None:
    refused = cli("budget", "set", *arguments, "--json", env=env)
    assert refused.code == 2
    assert refused.json["error"]["code"] == "usage"


def test_budget_needs_an_account(cli: Cli) -> None:
    assert cli("budget", "show").code == 4
    assert cli("budget", "set", "--daily", "5").code == 4


@pytest.fixture(scope="module")
def spent(cli: Cli, provider: Sandbox) -> Env:
    """An account with a batch of three jobs, one of them failed."""
    env = {**CREDENTIALS, "KATANA_BASE_URL": provider.base_url, "KATANA_API_KEY": "the-bookkeeper"}
    jobs: list[dict[str, Any]] = [
        {**MUG, "id": "a", "labels": {"season": "spring"}},
        {**MUG, "id": "b", "model": "nano-banana-2", "labels": {"season": "=1+1"}},
        {**MUG, "id": "c", "prompt": "A mug that breaks [sandbox:fail]"},
    ]
    assert cli("submit", cli.manifest("booked", jobs), "--yes", env=env).code == 1
    return env


def test_the_ledger_shows_every_movement(cli: Cli, spent: Env) -> None:
    spoken = cli("ledger", env=spent)
    assert spoken.code == 0
    assert "reserve" in spoken.stdout
    entries = cli("ledger", "--json", env=spent).json["entries"]
    assert entries == cli("ledger", "booked", "--json").json["entries"]
    assert sorted((entry["job"], entry["kind"]) for entry in entries) == [
        ("a", "charge"), ("a", "reserve"), ("b", "charge"), ("b", "reserve"), ("c", "release"), ("c", "reserve"),
    ]  # fmt: skip
    charge = next(entry for entry in entries if (entry["job"], entry["kind"]) == ("a", "charge"))
    assert (charge["from"], charge["to"], charge["credits"], charge["usd"]) == ("reserved", "spent", "14", "0.0728")
    assert (charge["usd_per_credit"], charge["model"], charge["labels"]) == (
        "0.0052", "gpt-image-2", {"season": "spring"},
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(cli("ledger", "booked", "--csv").stdout)))
    assert [row["credits"] for row in rows] == [entry["credits"] for entry in entries]
    others = {**spent, "KATANA_API_KEY": "nobody-yet"}
    assert cli("ledger", "--json", env=others).json == {"entries": []}
    assert "no such entries" in cli("ledger", env=others).stderr


def test_the_ledger_by_day_model_and_label(cli: Cli, spent: Env) -> None:
    by_model = cli("ledger", "--by", "model", "--json", env=spent).json
    groups = [(row["group"], row["credits"]["spent"]) for row in by_model["rows"]]
    assert groups == [("gpt-image-2", "14"), ("nano-banana-2", "32")]
    assert by_model["total"]["credits"] == {"reserved": "0", "in_doubt": "0", "spent": "46", "lost": "0"}
    assert by_model["total"]["usd"]["spent"] == "0.2392"
    rows = list(csv.DictReader(io.StringIO(cli("ledger", "booked", "--by", "label.season", "--csv").stdout)))
    assert [(row["group"], row["spent"], row["spent_usd"]) for row in rows] == [
        ("'=1+1", "32", "0.1664"), ("spring", "14", "0.0728"), ("", "0", "0"),
    ]  # fmt: skip
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert len(cli("ledger", "booked", "--by", "day", "--from", today, "--to", today, "--json").json["rows"]) <= 1
    assert cli("ledger", "booked", "--to", "2026-01-01", "--json").json == {"entries": []}
    assert "(none)" in cli("ledger", "booked", "--by", "label.season").stdout


def test_the_books_balance(cli: Cli, spent: Env) -> None:
    for arguments in ([], ["booked"]):
        checked = cli("ledger", *arguments, "--check", "--json")
        assert checked.code == 0
        assert checked.json["balanced"] is True
        assert checked.json["findings"] == []
    assert "balanced: 6 movements" in cli("ledger", "--check", "booked").stdout


def test_a_months_statement(cli: Cli, spent: Env) -> None:
    cli("submit", cli.manifest("later", [MUG]), "--yes", env=spent)
    month = f"{datetime.now(UTC):%Y-%m}"
    (account,) = cli("ledger", "statement", month, "--json", env=spent).json["accounts"]
    balance = Decimal(cli("balance", "--json", env=spent).json["credits"])
    assert account["charges"] == {"credits": "60", "usd": "0.312"}
    assert (account["in_doubt"]["credits"], account["lost"]["credits"]) == ("0", "0")
    assert Decimal(account["closing"]["credits"]) == balance
    assert account["unexplained"]["credits"] == "0"
    assert account["top_ups"]["source"] == "inferred from balance readings"
    later = account["provider_balance"]
    assert (Decimal(later["credits"]), later["booked_after"], later["reading"]["quiet"]) == (balance, "0", True)
    assert "unexplained difference" in cli("ledger", "statement", month, env=spent).stdout
    everyone = cli("ledger", "statement", month, "--json").json["accounts"]  # without credentials: all there are
    assert account in everyone
    others = {**spent, "KATANA_API_KEY": "nobody-yet"}
    assert "no reading" in cli("ledger", "statement", "2026-01", env=others).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere"], ["--by", "colour"], ["--by", "label."], ["--from", "yesterday"], ["--check", "--by", "day"],
        ["--from", "2026-02-01", "--to", "2026-01-01"], ["--csv", "--json"], ["statement"], ["statement", "2026-13"],
        ["statement", "November"], ["statement", "2999-01"], ["statement", "0000-01"], ["nowhere", "--check"],
    ],
)  # fmt: skip
def test_nonsense_about_the_ledger_is_refused(cli: Cli, arguments: list[str]) -> None:
    assert cli("ledger", *arguments).code == 2


def test_a_batch_paid_by_x402_is_told_in_usdc_and_balances(cli: Cli) -> None:
    paid = cli("submit", cli.manifest("usdc", [MUG], payment="x402-base"), "--sandbox", "--json")
    assert paid.code == 0
    assert (paid.json["credits"]["estimated"], paid.json["credits"]["spent"]) == ("14", "0")
    assert paid.json["usdc"]["spent"] == paid.json["usd"]["spent"] == "0.076738"
    (job,) = cli("jobs", "usdc", "--json").json
    assert job["payment"].keys() == {"network", "payer", "pay_to", "amount_atomic", "transaction", "state"}
    assert (job["payment"]["amount_atomic"], job["payment"]["state"]) == ("76738", "settled")
    entries = cli("ledger", "usdc", "--json").json["entries"]
    assert {entry["unit"] for entry in entries} == {"usdc"}
    assert entries[-1]["payment"] == job["payment"]
    assert "0.076738 USDC" in cli("ledger", "usdc").stdout
    assert "credits" not in cli("status", "usdc").stdout
    assert cli("ledger", "usdc", "--check").code == 0
