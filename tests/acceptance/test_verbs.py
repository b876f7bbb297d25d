"""`retry`, `resolve` and `approve` as their users have them."""

import json
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import FaultRule, Faults, Sandbox
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli

FAILING = MUG | {"id": "bad", "prompt": "A mug that breaks [sandbox:fail]"}
JUG = MUG | {"id": "jug", "prompt": "A jug"}


@pytest.fixture
def shaky() -> Iterator[Sandbox]:
    """A provider of this test's own, which does what it is told."""
    with tempfile.TemporaryDirectory(prefix="ko-shaky-") as folder, Sandbox(Path(folder), time_scale=0.0) as sandbox:
        yield sandbox


def environment(sandbox: Sandbox) -> dict[str, str]:
    return {"KATANA_BASE_URL": sandbox.base_url, **CREDENTIALS}


def lose_answer(sandbox: Sandbox, kind: str = "drop-after-charge") -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind=kind, match=JUG["prompt"])))


def state(cli: Cli, batch: str) -> dict[str, str]:
    return {job["id"]: job["state"] for job in cli("jobs", batch, "--json").json}


def test_retry_asks_and_runs_again(cli: Cli, account: dict[str, str]) -> None:
    assert cli("submit", cli.manifest("again", [MUG, FAILING]), "--yes", env=account).code == 1
    assert "orchestrator retry again-" in cli("status", "again").stdout
    refused = cli("retry", "again", env=account)
    assert refused.code == 3
    assert "running 1 job of again-" in refused.stderr
    assert "spends up to 14 credits (~$0.0728)" in refused.stderr
    retried = cli("retry", "again", "--yes", "--json", "--error", "provider-failed", env=account)
    assert (retried.code, retried.json["state"]) == (1, "partial_failure")
    (job,) = cli("jobs", "again", "--state", "failed", "--json").json
    assert (job["id"], job["attempts"]) == ("bad", 2)


def test_retry_tells_what_it_does_not_do(cli: Cli, account: dict[str, str]) -> None:
    assert cli("submit", cli.manifest("done", [MUG]), "--yes", env=account).code == 0
    for options, said in (([], "nothing to retry: no job of done-"), (["--job", "mug"], "is completed")):
        refused = cli("retry", "done", "--yes", "--json", *options, env=account)
        assert refused.code == 2
        assert said in refused.json["error"]["message"]
    assert cli("retry", "done", "--error", "nonsense", env=account).code == 2


@pytest.fixture
def doubtful(cli: Cli, shaky: Sandbox, request: pytest.FixtureRequest) -> str:
    """A batch whose jug is in doubt: it was charged, and the answer was lost."""
    name = request.node.name.replace("_", "-")[-40:].strip("-")
    lose_answer(shaky)
    held = cli("submit", cli.manifest(name, [MUG, JUG]), "--yes", env=environment(shaky))
    assert held.code == 5
    return name


def test_resolve_tells_the_evidence_and_settles(cli: Cli, doubtful: str, shaky: Sandbox) -> None:
    needs_it_settled = cli("retry", doubtful, "--job", "jug", "--yes", env=environment(shaky))
    assert needs_it_settled.code == 2
    assert "orchestrator resolve" in needs_it_settled.stderr
    resolved = cli("resolve", doubtful, "--job", "jug", "--as", "charged", "--json")  # without any credentials
    assert (resolved.code, resolved.json["state"], resolved.json["holds"]) == (0, "partial_failure", [])
    assert "evidence: jug: sent at " in resolved.stderr
    assert resolved.json["credits"]["lost"] == "14"
    for again in ("charged", "not-charged"):  # a person may still find out
        code = cli("resolve", doubtful, "--job", "jug", "--as", again).code
        assert code == (2 if again == "charged" else 0)
    assert state(cli, doubtful) == {"mug": "completed", "jug": "pending"}


def test_a_lost_payment_is_bought_again_only_with_again(cli: Cli, doubtful: str, shaky: Sandbox) -> None:
    assert cli("resolve", doubtful, "--job", "jug", "--as", "charged").code == 0
    refused = cli("retry", doubtful, "--yes", "--json", env=environment(shaky))
    assert refused.code == 2
    assert "--again" in refused.json["error"]["hint"]
    retried = cli("retry", doubtful, "--again", "--yes", "--json", env=environment(shaky))
    assert (
        "1 of them was charged 14 credits already and gave no file, or not all: it is paid for again" in retried.stderr
    )
    assert (retried.code, retried.json["state"], retried.json["credits"]["spent"]) == (0, "completed", "42")


def test_a_request_id_found_by_hand_is_fetched(cli: Cli, doubtful: str, shaky: Sandbox) -> None:
    requests: list[dict[str, Any]] = httpx.get(f"{shaky.base_url}/sandbox/requests").json()["requests"]
    by_prompt = {json.dumps(request): request["request_id"] for request in requests}
    found = next(request_id for text, request_id in by_prompt.items() if JUG["prompt"] in text)
    others = next(request_id for text, request_id in by_prompt.items() if MUG["prompt"] in text)
    taken = cli("resolve", doubtful, "--job", "jug", "--request-id", others)
    assert taken.code == 2
    assert "is that of job mug" in taken.stderr
    resolved = cli("resolve", doubtful, "--job", "jug", "--request-id", found)
    assert resolved.code == 0
    assert f"orchestrator resume {doubtful}" in resolved.stderr
    assert cli("resume", doubtful, env=environment(shaky)).code == 0
    assert len(shaky.charges()) == 2


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--as", "charged", "--request-id", str(uuid.uuid4())],
        ["--as", "perhaps"],
        ["--request-id", "nonsense"],
    ],
)
def test_resolve_wants_one_clear_word(cli: Cli, options: list[str]) -> None:
    assert cli("resolve", "latest", "--job", "mug", *options).code == 2


def test_a_canary_is_looked_at_before_the_rest_is_bought(cli: Cli, account: dict[str, str]) -> None:
    rest = [MUG | {"id": f"mug-{number}"} for number in range(2)]
    held = cli("submit", cli.manifest("careful", [MUG, *rest]), "--canary", "1", "--yes", env=account)
    assert held.code == 3
    assert "held [canary]: gpt-image-2: 1 job, 14 credits spent, 14 estimated; 2 jobs of 28 credits wait" in held.stdout
    assert "orchestrator approve careful-" in held.stdout
    assert "waits for the canary to be approved" in cli("jobs", "careful").stdout
    assert cli("resume", "careful", env=account).code == 3
    twice = cli("submit", cli.manifest("careful", [MUG, *rest]), "--yes", env=account)
    assert (twice.code, "go on with it: orchestrator approve careful-" in twice.stderr) == (3, True)
    refused = cli("approve", "careful", env=account)
    assert refused.code == 3
    assert "spends up to 28 credits (~$0.1456)" in refused.stderr
    one = cli("approve", "careful", "--job", "mug-1", "--yes", env=account)
    assert one.code == 3
    assert state(cli, "careful") == {"mug": "completed", "mug-0": "waiting", "mug-1": "completed"}
    approved = cli("approve", "careful", "--yes", "--json", env=account)
    assert (approved.code, approved.json["jobs"]["completed"]) == (0, 3)
    over = cli("approve", "careful", "--yes", "--json", env=account)
    assert over.code == 2
    assert "nothing to approve" in over.json["error"]["message"]


def test_a_sandbox_batch_is_approved_without_a_yes(cli: Cli) -> None:
    rest = [MUG | {"id": f"mug-{number}"} for number in range(2)]
    assert cli("submit", cli.manifest("trial", [MUG, *rest]), "--canary", "1", "--sandbox").code == 3
    approved = cli("approve", "trial", "--json")
    assert (approved.code, approved.json["state"]) == (0, "completed")


def test_a_picture_is_looked_at_before_its_film_is_bought(cli: Cli) -> None:
    film = {
        "type": "video",
        "model": "ltx-2-3",
        "prompt": "A slow turn",
        "duration_seconds": 5,
        "aspect_ratio": "1:1",
    }
    jobs: list[dict[str, Any]] = [
        MUG | {"gate": "manual"},
        MUG | {"id": "jug", "gate": "manual"},
        film | {"id": "mug-film", "video_image_data": {"first_frame_image_url": {"from": "mug"}}},
        film | {"id": "jug-film", "video_image_data": {"first_frame_image_url": {"from": "jug"}}},
    ]
    held = cli("submit", cli.manifest("films", jobs), "--sandbox")
    assert held.code == 3
    assert "held [gate]: look at the results of mug, jug: 2 jobs wait, 40 credits" in " ".join(held.stdout.split())
    assert "waits until someone has looked at what it needs" in cli("jobs", "films").stdout
    rejected = cli("reject", "films", "--job", "jug", "--json")
    assert (rejected.code, rejected.json["state"]) == (0, "held")
    approved = cli("approve", "films", "--job", "mug", "--json")
    assert (approved.code, approved.json["state"]) == (0, "completed")
    assert state(cli, "films") == {
        "mug": "completed", "jug": "completed", "mug-film": "completed", "jug-film": "skipped",
    }  # fmt: skip
    assert "dependency-failed: it needs jug, whose result was rejected" in " ".join(cli("jobs", "films").stdout.split())
    again = cli("reject", "films", "--job", "jug")
    assert again.code == 2
    assert "its result was rejected" in again.stderr
