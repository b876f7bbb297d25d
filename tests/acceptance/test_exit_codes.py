"""The exit code of a command that worked a batch is the batch's state (interface "Exit codes")."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.sandbox import FaultRule, Faults, Sandbox
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli


@pytest.fixture
def poor_provider(tmp_path: Path) -> Iterator[Sandbox]:
    """A provider at which the account has 14 credits."""
    with Sandbox(tmp_path, time_scale=0, balance=Decimal(14)) as sandbox:
        yield sandbox


def paying(sandbox: Sandbox) -> dict[str, str]:
    return {"KATANA_BASE_URL": sandbox.base_url, **CREDENTIALS}


def test_money_in_doubt_is_5_and_is_never_paid_twice(cli: Cli, poor_provider: Sandbox) -> None:
    poor_provider.play(Faults(rules=(FaultRule(at="submit", kind="drop-after-charge"),)))
    result = cli("submit", cli.manifest("doubt", [MUG]), "--yes", env=paying(poor_provider))
    assert result.code == 5
    assert "held [in-doubt]" in result.stdout
    assert "orchestrator jobs doubt-" in result.stdout
    resumed = cli("resume", "doubt", "--yes", "--json", env=paying(poor_provider))
    assert (resumed.code, resumed.json["state"]) == (5, "held")
    assert [hold["code"] for hold in resumed.json["holds"]] == ["in-doubt"]
    assert len(poor_provider.charges()) == 1
    assert cli("status", "doubt").code == 0
    assert cli("wait", "doubt").code == 5


def test_too_little_money_is_3_and_nothing_is_stored(cli: Cli, poor_provider: Sandbox) -> None:
    file = cli.manifest("poor", [MUG, {**MUG, "id": "jug"}])
    result = cli("submit", file, "--yes", "--json", env=paying(poor_provider))
    assert result.code == 3
    assert "14 credits" in result.json["error"]["message"]
    assert poor_provider.charges() == []
    assert cli("status", "poor").code == 2


def test_wrong_credentials_are_4_and_nothing_is_stored(cli: Cli, poor_provider: Sandbox) -> None:
    poor_provider.play(Faults(rules=(FaultRule(at="balance", kind="401"),)))
    result = cli("submit", cli.manifest("stranger", [MUG]), "--yes", env=paying(poor_provider))
    assert result.code == 4
    assert "KATANA_API_SECRET" in result.stderr
    assert CREDENTIALS["KATANA_API_SECRET"] not in result.stderr
    assert cli("status", "stranger").code == 2


def test_a_destination_that_cannot_be_written_is_4(cli: Cli, poor_provider: Sandbox) -> None:
    file = cli.manifest("nowhere", [MUG], destination="/dev/null/assets")
    result = cli("submit", file, "--yes", env=paying(poor_provider))
    assert result.code == 4
    assert poor_provider.charges() == []


def test_resume_elsewhere_is_4(cli: Cli, poor_provider: Sandbox, provider: Sandbox) -> None:
    file = cli.manifest("bound", [MUG])
    assert cli("submit", file, "--yes", "--detach", env=paying(poor_provider)).code == 0
    elsewhere = cli("resume", "bound", "--yes", "--json", env=paying(provider))
    assert elsewhere.code == 4
    assert poor_provider.base_url in elsewhere.json["error"]["hint"]
    other_account = {**paying(poor_provider), "KATANA_API_KEY": "another"}
    assert cli("resume", "bound", "--yes", env=other_account).code == 4
