"""`pause`, `resume` and `cancel`, also from another terminal while `submit` works the batch."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sandbox import Sandbox
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli, finish

MANY = [MUG | {"id": f"mug-{n}", "prompt": f"A ceramic mug, number {n}"} for n in range(12)]


@pytest.fixture(scope="module")
def slow() -> Iterator[dict[str, str]]:
    """The environment of a provider that takes its time, with room for one job at once: a minute for them all."""
    folder = tempfile.mkdtemp(prefix="ko-slow-")
    with Sandbox(Path(folder), time_scale=0.3) as sandbox:
        yield {"KATANA_BASE_URL": sandbox.base_url, **CREDENTIALS, "ORCHESTRATOR_MAX_IN_FLIGHT": "1"}


def started(cli: Cli, name: str, slow: dict[str, str]) -> subprocess.Popen[str]:
    """`submit` at work, with something at the provider."""
    process = cli.start("submit", cli.manifest(name, MANY), "--yes", env=slow)
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        found = [batch for batch in cli("status", "--json").json if batch["name"] == name]
        if found and found[0]["jobs"]["generating"]:
            return process
    raise AssertionError("nothing was sent")


def test_pause_stops_what_is_not_sent_and_resume_goes_on(cli: Cli, slow: dict[str, str]) -> None:
    process = started(cli, "pausing", slow)
    paused = cli("pause", "pausing", "--json")
    assert (paused.code, paused.json["state"]) == (0, "paused")
    sent = paused.json["jobs"]["total"] - paused.json["jobs"]["pending"]
    ended = finish(process)
    assert ended.code == 3
    assert "paused" in ended.stdout
    assert "orchestrator resume pausing" in ended.stdout
    document = cli("status", "pausing", "--json").json
    assert (document["jobs"]["completed"], document["jobs"]["pending"]) == (sent, 12 - sent), "what was paid is stored"
    assert cli("wait", "pausing").code == 3
    assert "it is paused until orchestrator resume pausing-" in cli("watch", "pausing").stderr
    assert cli("pause", "pausing").code == 0
    refused = cli("resume", "pausing", env=slow)
    assert refused.code == 3
    assert f"spends up to {14 * (12 - sent)} credits" in refused.stderr
    resumed = cli("resume", "pausing", "--yes", "--json", env=slow | {"ORCHESTRATOR_MAX_IN_FLIGHT": "64"})
    assert (resumed.code, resumed.json["jobs"]["completed"]) == (0, 12)
    over = cli("pause", "pausing", "--json")
    assert over.code == 2
    assert "nothing to pause" in over.json["error"]["message"]


def test_cancel_keeps_what_was_paid_for(cli: Cli, slow: dict[str, str]) -> None:
    process = started(cli, "cancelling", slow)
    cancelled = cli("cancel", "cancelling")
    assert cancelled.code == 0
    assert "running (being cancelled)" in cancelled.stdout
    assert "orchestrator resume cancelling-" in cancelled.stderr
    ended = finish(process)
    assert ended.code == 1
    document = cli("status", "cancelling", "--json").json
    assert (document["state"], document["jobs"]["pending"]) == ("cancelled", 0)
    assert document["jobs"]["completed"] + document["jobs"]["cancelled"] == 12
    assert document["jobs"]["completed"] > 0
    assert document["credits"]["spent"] == str(14 * document["jobs"]["completed"])
    again = cli("cancel", "cancelling", "--json")
    assert document.pop("progress") is None, "only who looks at it is told how it is getting on"
    assert (again.code, again.json) == (0, document)
    assert cli("pause", "cancelling").code == 2


def test_resume_of_a_cancelled_batch_only_fetches(cli: Cli, slow: dict[str, str]) -> None:
    process = started(cli, "fetching", slow)
    process.kill()
    process.wait()
    assert cli("cancel", "fetching").code == 0
    fetched = cli("resume", "fetching", "--json", env=slow)  # no --yes: there is nothing to spend
    assert (fetched.code, fetched.json["state"]) == (1, "cancelled")
    assert fetched.json["jobs"]["completed"] > 0


def test_what_was_never_sent_is_cancelled_at_once(cli: Cli, slow: dict[str, str]) -> None:
    assert cli("submit", cli.manifest("unsent", MANY), "--yes", "--detach", env=slow).code == 0
    document = cli("cancel", "unsent", "--json").json
    assert (document["state"], document["jobs"]["cancelled"], document["credits"]["spent"]) == ("cancelled", 12, "0")
    assert cli("cancel", "no-such-batch").code == 2
