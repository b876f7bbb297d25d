"""`adopt`: a paid request made by other means is fetched and booked, once."""

import uuid
from decimal import Decimal
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import Sandbox
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli

HEADERS = {"X-API-Key": CREDENTIALS["KATANA_API_KEY"], "X-API-Secret": CREDENTIALS["KATANA_API_SECRET"]}


def bought_elsewhere(provider: Sandbox, *prompts: str, headers: dict[str, str] = HEADERS) -> str:
    """Buy images without us; the request's id."""
    items = [{"type": "image", "model": "gpt-image-2", "prompt": prompt, "aspect_ratio": "1:1"} for prompt in prompts]
    url = f"{provider.base_url}/v1/generation-requests?wait=false"
    return str(httpx.post(url, json={"requests": items}, headers=headers).json()["request_id"])


def test_a_request_made_elsewhere_is_fetched_and_booked(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    request_id = bought_elsewhere(provider, "A mug", "A cup")
    adopted = cli("adopt", request_id, "--yes", "--json", env=account)
    assert (adopted.code, adopted.json["state"], adopted.json["name"]) == (0, "completed", "adopted")
    assert adopted.json["credits"]["spent"] == "28"
    batch = adopted.json["batch"]
    found: list[dict[str, Any]] = cli("jobs", batch, "--json", env=account).json
    assert [job["id"] for job in found] == [f"{request_id[:8]}-0", f"{request_id[:8]}-1"]
    assert {(job["model"], job["state"], job["request_id"]) for job in found} == {
        ("gpt-image-2", "completed", request_id)
    }
    assert all(job["assets"] for job in found)
    assert cli("ledger", batch, "--check", env=account).code == 0
    charged = [entry.credits for entry in provider.charges() if entry.request_id == request_id]
    assert sum(charged, Decimal(0)) == 28


def test_one_that_is_ours_is_told_with_its_batch_and_job(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    submitted = cli("submit", cli.manifest("ours", [MUG]), "--yes", "--json", env=account).json
    (job,) = cli("jobs", submitted["batch"], "--json", env=account).json
    refused = cli("adopt", job["request_id"], "--yes", env=account)
    assert refused.code == 2
    assert f"batch {submitted['batch']}, job mug" in refused.stderr
    request_id = bought_elsewhere(provider, "A mug")
    assert cli("adopt", request_id, "--yes", "--name", "second-hand", env=account).code == 0
    again = cli("adopt", request_id, "--yes", env=account)
    assert again.code == 2
    assert "batch second-hand-" in again.stderr


def test_one_that_the_provider_does_not_know(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    others = bought_elsewhere(provider, "A mug", headers={"X-API-Key": "someone", "X-API-Secret": "else"})
    for request_id in (str(uuid.uuid4()), others):
        refused = cli("adopt", request_id, "--yes", env=account)
        assert refused.code == 2
        assert "another account" in refused.stderr
        assert "72 hours" in refused.stderr


@pytest.mark.parametrize("nonsense", ["nonsense", "..", "12345678-1234-1234-1234-12345678901g", "../../v1/me/balance"])
def test_nonsense_is_refused_before_any_call(cli: Cli, nonsense: str) -> None:
    nowhere = {"KATANA_BASE_URL": "http://127.0.0.1:9", **CREDENTIALS}
    refused = cli("adopt", nonsense, "--yes", env=nowhere)
    assert refused.code == 2
    assert "no request id" in refused.stderr
    named = cli("adopt", str(uuid.uuid4()), "--name", "No Name", "--yes", env=nowhere)
    assert named.code == 2


def test_it_asks_first(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    request_id = bought_elsewhere(provider, "A mug")
    refused = cli("adopt", request_id, env=account)
    assert refused.code == 3
    assert "adopts 1 job that cost 14 credits" in refused.stderr
    assert "--yes" in refused.stderr


def test_without_the_provider_or_the_credentials(cli: Cli) -> None:
    request_id = str(uuid.uuid4())
    assert cli("adopt", request_id, "--yes").code == 4
    assert cli("adopt", request_id, "--yes", env={"KATANA_BASE_URL": "http://127.0.0.1:9", **CREDENTIALS}).code == 4


def test_one_that_failed_is_booked_as_what_it_cost(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    request_id = bought_elsewhere(provider, "[sandbox:fail] A mug")
    adopted = cli("adopt", request_id, "--yes", "--json", env=account)
    assert (adopted.code, adopted.json["state"], adopted.json["credits"]["spent"]) == (1, "failed", "0")
