"""A batch from submit to its files, and the documents that scripts read on the way (interface "JSON")."""

import csv
import io
import signal
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from orchestrator.sandbox import Sandbox
from orchestrator.store.embedded import running_url
from tests.acceptance.conftest import MUG, Cli, finish

BATCH_KEYS = {
    "batch", "name", "state", "sandbox", "jobs", "credits", "usd", "usdc", "holds", "created_at", "finished_at",
}  # fmt: skip
COUNT_KEYS = {
    "total", "waiting", "pending", "submitting", "generating", "copying", "completed", "failed", "rejected",
    "in_doubt", "cancelled", "skipped",
}  # fmt: skip
CREDIT_KEYS = {"estimated", "reserved", "spent", "in_doubt", "lost", "budget"}
JOB_KEYS = {
    "id", "type", "model", "state", "attempts", "request_id", "reused_from", "labels", "credits", "error", "assets",
}  # fmt: skip
ASSET_KEYS = {
    "index", "kind", "uri", "sha256", "bytes", "mime_type", "width", "height", "duration_seconds", "source_expires_at",
}  # fmt: skip
FAILING = {**MUG, "id": "=bad", "prompt": "A mug that breaks [sandbox:fail]"}


def check_batch(document: dict[str, Any]) -> None:
    assert document.keys() >= BATCH_KEYS
    assert document["jobs"].keys() == COUNT_KEYS
    assert document["credits"].keys() == CREDIT_KEYS
    assert document["usd"].keys() == {"estimated", "spent"}
    amounts = [*document["credits"].values(), *document["usd"].values()]
    assert all(isinstance(amount, str) for amount in amounts if amount is not None)


def test_a_sandbox_batch_needs_no_account_and_no_yes(fresh_cli: Cli) -> None:
    cli = fresh_cli
    result = cli("submit", cli.manifest("free", [MUG]), "--sandbox")
    assert result.code == 0
    assert "would have cost 14 credits (~$0.0728)" in result.stdout
    assert "sandbox" in result.stdout
    assert str(cli.folder / "output" / "free") in result.stdout
    assert "gpt-image-2" in result.stderr  # the price comes first
    assert len(list((cli.folder / "output" / "free" / "mug").iterdir())) == 1


def test_submit_and_look_in_json(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    charged = len(provider.charges())
    file = cli.manifest("paid", [MUG, {**MUG, "id": "jug"}], labels={"season": "spring"}, budget={"credits": 100})
    submitted = cli("submit", file, "--yes", "--json", env=account)
    assert (submitted.code, submitted.stderr) == (0, "")
    document = submitted.json
    check_batch(document)
    assert (document["name"], document["state"], document["sandbox"]) == ("paid", "completed", False)
    assert (document["jobs"]["total"], document["jobs"]["completed"]) == (2, 2)
    assert document["credits"] == {
        "estimated": "28", "reserved": "0", "spent": "28", "in_doubt": "0", "lost": "0", "budget": "100",
    }  # fmt: skip
    assert document["usd"] == {"estimated": "0.1456", "spent": "0.1456"}
    assert len(provider.charges()) == charged + 2

    for reference in (document["batch"], document["batch"][:-1], "paid", "latest"):
        assert cli("status", reference, "--json").json["batch"] == document["batch"]
    jobs = cli("jobs", "paid", "--json").json
    assert [job["id"] for job in jobs] == ["mug", "jug"]
    for job in jobs:
        assert job.keys() >= JOB_KEYS
        assert job["credits"] == {"estimated": "14", "spent": "14"}
        assert job["labels"] == {"season": "spring"}
        assert [asset.keys() >= ASSET_KEYS for asset in job["assets"]] == [True]
        path = Path(unquote(urlsplit(job["assets"][0]["uri"]).path))
        assert path.stat().st_size == job["assets"][0]["bytes"]


@pytest.fixture(scope="module")
def failed(cli: Cli, provider: Sandbox) -> str:
    """A batch with one job done and one failed."""
    environment = {"KATANA_BASE_URL": provider.base_url, "KATANA_API_KEY": "k", "KATANA_API_SECRET": "s"}
    result = cli("submit", cli.manifest("breaks", [MUG, FAILING]), "--yes", env=environment)
    assert result.code == 1
    assert "=bad failed [provider-failed" in result.stdout
    return "breaks"


def test_looking_exits_0_whatever_it_sees_and_wait_tells(cli: Cli, failed: str) -> None:
    assert cli("status", failed).code == 0
    assert cli("watch", failed).code == 0
    assert cli("wait", failed, "--timeout", "10s").code == 1
    assert cli("wait", failed, "--tolerate", "49%").code == 1
    assert cli("wait", failed, "--tolerate", "50%").code == 0
    check_batch(cli("wait", failed, "--json").json)


def test_jobs_by_state_and_error(cli: Cli, failed: str) -> None:
    assert [job["id"] for job in cli("jobs", failed, "--state", "completed", "--json").json] == ["mug"]
    (broken,) = cli("jobs", failed, "--error", "provider-failed", "--json").json
    assert broken["error"].keys() == {"code", "message", "charged", "provider"}
    (group,) = cli("jobs", failed, "--by", "error", "--json").json
    assert (group["code"], group["jobs"], group["example"]) == ("provider-failed", 1, "=bad")
    assert Decimal(group["credits"]["spent"]) == Decimal(broken["credits"]["spent"] or 0)
    wrong = cli("jobs", failed, "--state", "nope")
    assert wrong.code == 2
    assert "'in_doubt'" in wrong.stderr


def test_csv_is_safe_to_open(cli: Cli, failed: str) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("jobs", failed, "--csv").stdout)))
    assert [row["id"] for row in rows] == ["mug", "'=bad"]
    assert rows[0]["spent"] == "14"
    assert rows[1]["error"] == "provider-failed"


def test_status_lists_and_an_unknown_batch_is_exit_2(cli: Cli, failed: str) -> None:
    documents = cli("status", "--json").json
    assert failed in {document["name"] for document in documents}
    for document in documents:
        check_batch(document)
    unknown = cli("status", "nowhere", "--json")
    assert unknown.code == 2
    assert unknown.json["error"]["code"] == "usage"


def test_ctrl_c_keeps_everything_and_resume_ends_it(cli: Cli) -> None:
    process = cli.start("submit", cli.manifest("stopped", [MUG, {**MUG, "id": "jug"}]), "--sandbox")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("stopped-"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == 130
    assert "Ctrl-C again ends at once" in result.stderr
    assert "orchestrator resume" in result.stderr
    assert cli("status", "stopped", "--json").json["state"] == "running"

    resumed = cli("resume", "--json")
    assert resumed.code == 0
    (document,) = resumed.json
    assert (document["name"], document["jobs"]["completed"]) == ("stopped", 2)
    assert document["credits"]["spent"] == "28"
    assert cli("resume", "--json").json == []
    assert cli("resume", "stopped", "--json").json["state"] == "completed"


def test_a_watch_that_is_told_to_end_leaves_no_database_running(fresh_cli: Cli, account: dict[str, str]) -> None:
    assert fresh_cli("submit", fresh_cli.manifest("left", [MUG]), "--yes", "--detach", env=account).code == 0
    process = fresh_cli.start("watch", "left")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("left-")
    assert running_url(fresh_cli.home) is not None
    process.send_signal(signal.SIGTERM)
    result = finish(process)
    assert (result.code, "stopped watching" in result.stderr) == (130, True)
    assert running_url(fresh_cli.home) is None
    typed = {"_ORCHESTRATOR_COMPLETE": "complete_bash", "COMP_WORDS": "orchestrator status le", "COMP_CWORD": "2"}
    offered = fresh_cli(env=typed)
    assert (offered.stdout.split()[0], offered.stderr) == ("left", "")
    assert running_url(fresh_cli.home) is None, "it runs for as long as it takes to look"


def test_a_second_run_is_refused_while_one_can_move(cli: Cli, account: dict[str, str]) -> None:
    file = cli.manifest("twice", [MUG])
    detached = cli("submit", file, "--yes", "--detach", env=account)
    assert detached.code == 0
    assert "nobody works on it: no worker is alive; next: orchestrator worker" in detached.stdout
    second = cli("submit", file, "--yes", "--json", env=account)
    assert second.code == 3
    assert "--alongside" in second.json["error"]["hint"]
    assert cli("wait", "twice", "--timeout", "1s").code == 1  # nobody works on it
    refused = cli("resume", "twice", env=account)
    assert refused.code == 3
    assert "--yes" in refused.stderr
    assert cli("resume", "twice", "--yes", env=account).code == 0
