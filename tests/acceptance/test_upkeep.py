"""The catalogue, the account, the sandbox in the foreground, workers and set-up."""

import itertools
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import Sandbox
from orchestrator.store.embedded import EmbeddedPostgres
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli, finish
from tests.postgres import new_database

_numbers = itertools.count()
IMAGE_KEYS = {
    "name", "display_name", "type", "creator", "credits", "aspect_ratios", "max_reference_images", "requires_image",
}  # fmt: skip
VIDEO_KEYS = {
    "name", "display_name", "type", "creator", "credits_by_duration", "aspect_ratios", "max_reference_images",
    "max_audio_files", "first_frame", "mid_frame", "last_frame", "requires_image", "generates_audio", "custom_rules",
}  # fmt: skip
TEXT_KEYS = {
    "name", "display_name", "type", "creator", "credits_per_million_input", "credits_per_million_output",
    "context_length", "max_output_tokens", "privacy", "input_types",
}  # fmt: skip


def test_models_in_json(cli: Cli) -> None:
    documents = cli("models", "--json").json
    assert len(documents) == 111
    for kind, keys, count in (("image", IMAGE_KEYS, 49), ("video", VIDEO_KEYS, 23), ("text", TEXT_KEYS, 39)):
        found = cli("models", "--type", kind, "--json").json
        assert len(found) == count
        assert all(document.keys() >= keys for document in found)
    (seedance,) = cli("models", "seedance-2-0", "--json").json
    assert seedance["credits_by_duration"] == {"5": "200", "10": "375", "15": "550"}


def test_models_filtered(cli: Cli) -> None:
    cheap = cli("models", "--type", "video", "--max-credits", "20", "--json").json
    assert "ltx-2-3" in [model["name"] for model in cheap]
    assert "seedance-2-0" not in [model["name"] for model in cheap]
    last = cli("models", "--feature", "last frame", "--json").json
    assert last
    assert all(model["last_frame"] for model in last)
    spoken = cli("models", "gtp-image-2")
    assert spoken.code == 2
    assert "did you mean `gpt-image-2`" in spoken.stderr


def test_refresh_reads_the_provider_and_tells_what_changed(cli: Cli, account: dict[str, str]) -> None:
    assert cli("models", "--changes", "--json").json == []
    refreshed = cli("models", "--refresh", "--json", env={"KATANA_BASE_URL": account["KATANA_BASE_URL"]})
    if refreshed.code == 4:  # a provider may want credentials for it
        refreshed = cli("models", "--refresh", "--json", env=account)
    assert refreshed.code == 0
    assert len(refreshed.json) == 111
    assert "111 models read from http://127.0.0.1" in refreshed.stderr
    assert (cli.home / "catalog.json").exists()
    assert cli("plan", cli.manifest("after", [MUG]), "--json").json["catalog"]["source"] == account["KATANA_BASE_URL"]
    (cli.home / "catalog.json").unlink()


def test_changes_of_prices_and_limits(cli: Cli) -> None:
    def edited(document: dict[str, Any]) -> dict[str, Any]:
        models = document["models"]
        models["gpt-image-2"]["credits"] = "15"
        models["seedance-2-0"]["credits_by_duration"] = {"5": "180", "10": "375"}
        models["dall-e-9"] = models["gen"] | {"name": "dall-e-9"}
        del models["kling-1-6"]
        return document

    bundled = files("orchestrator.catalog").joinpath("snapshot.json").read_text(encoding="utf-8")
    (cli.home / "catalog.json").write_text(json.dumps(edited(json.loads(bundled))))
    try:
        found = cli("models", "--changes", "--json").json
        spoken = cli("models", "--changes")
    finally:
        (cli.home / "catalog.json").unlink()
    assert [(change["model"], change["effect"], change["field"], change["percent"]) for change in found] == [
        ("dall-e-9", "new", None, None),
        ("gpt-image-2", "dearer", "credits", "7.1"),
        ("kling-1-6", "gone", None, None),
        ("seedance-2-0", "cheaper", "credits_by_duration.5", "-10"),
        ("seedance-2-0", "changed", "credits_by_duration.15", None),
    ]
    assert (found[1]["kind"], found[1]["before"], found[1]["after"]) == ("price", "14", "15")
    assert "5 changes: 1 gone, 1 dearer, 1 cheaper, 1 new, 1 changed" in spoken.stderr
    assert spoken.stdout.index("kling-1-6") < spoken.stdout.index("gpt-image-2") < spoken.stdout.index("dall-e-9")
    assert "15 (+7.1%)" in spoken.stdout
    assert "nothing differs" in cli("models", "--changes").stderr


def test_refresh_of_a_provider_that_is_away_keeps_the_catalogue(cli: Cli) -> None:
    result = cli("models", "--refresh", env={"KATANA_BASE_URL": "http://127.0.0.1:9"})
    assert result.code == 4
    assert "the catalogue in use is kept" in result.stderr


def test_balance(cli: Cli, account: dict[str, str]) -> None:
    document = cli("balance", "--json", env=account).json
    assert document == {"credits": "100000", "usd": "520"}
    assert cli("balance", env=account).stdout == "100000 credits (~$520)\n"


def test_doctor_names_every_check_and_no_secret(cli: Cli, account: dict[str, str]) -> None:
    result = cli("doctor", "--json", env=account)
    assert result.code == 0
    document = result.json
    assert document["ok"] is True
    names = [check["name"] for check in document["checks"]]
    assert list(dict.fromkeys(names)) == [
        "settings", "home", "clock", "workers", "database", "broker", "credentials", "balance", "destination", "media",
        "catalogue",
    ]  # fmt: skip
    assert CREDENTIALS["KATANA_API_SECRET"] not in result.stdout
    assert CREDENTIALS["KATANA_API_KEY"] not in result.stdout


@pytest.mark.parametrize(
    ("setting", "value", "check"),
    [
        ("KATANA_BASE_URL", "ftp://x", "settings"),
        ("ORCHESTRATOR_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:9/none", "database"),
        ("ORCHESTRATOR_BROKER_URL", "redis://:hunter2@127.0.0.1:9/0", "broker"),
        ("ORCHESTRATOR_DESTINATION", "/dev/null/output", "destination"),
        ("ORCHESTRATOR_DESTINATION", "ftp://host/folder", "destination"),
    ],
)
def test_doctor_fails_with_4(cli: Cli, setting: str, value: str, check: str) -> None:
    result = cli("doctor", "--json", env={setting: value})
    assert result.code == 4
    assert check in {found["name"] for found in result.json["checks"] if found["verdict"] == "fail"}
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.redis
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_doctor_warns_of_a_redis_that_evicts(cli: Cli, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "allkeys-lru"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        _until_open(port)
        checks = cli("doctor", "--json", env={"ORCHESTRATOR_BROKER_URL": f"redis://127.0.0.1:{port}/0"}).json["checks"]
    finally:
        server.terminate()
        server.wait()
    assert any(check["verdict"] == "warn" and "allkeys-lru" in check["message"] for check in checks)


def _until_open(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def test_the_sandbox_runs_in_the_foreground_and_keeps_its_books(cli: Cli) -> None:
    process = cli.start("sandbox", "--time-scale", "0", "--balance", "50")
    assert process.stderr is not None
    address = next(line for line in process.stderr if "API on" in line).split("API on ")[1].split(",")[0]
    assert httpx.get(f"{address}/v1/models", headers={"X-API-Key": "a", "X-API-Secret": "b"}).status_code == 200
    environment = {"KATANA_BASE_URL": address, **CREDENTIALS}
    assert cli("balance", "--json", env=environment).json["credits"] == "50"
    second = cli("sandbox")
    assert second.code == 4
    assert "--state" in second.stderr
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 0
    assert (cli.home / "sandbox" / "server").is_dir()


def test_a_worker_without_a_broker_works_what_was_detached(cli: Cli, account: dict[str, str]) -> None:
    detached = cli("submit", cli.manifest("later", [MUG]), "--yes", "--detach", "--json", env=account)
    assert (detached.code, detached.json["state"]) == (0, "running")
    worker = cli.start("worker", env=account)
    try:
        waited = cli("wait", "later", "--timeout", "30s", "--json")
        assert (waited.code, waited.json["jobs"]["completed"]) == (0, 1)
    finally:
        worker.send_signal(signal.SIGINT)
        ended = finish(worker)
    assert ended.code == 0  # that is how a worker ends
    assert cli("worker", "--concurrency", "2", env=account).code == 2


def test_wait_gives_up_when_the_time_is_over(cli: Cli, account: dict[str, str], provider: Sandbox) -> None:
    file = cli.manifest("nobody", [MUG])
    assert cli("submit", file, "--yes", "--detach", env=account).code == 0
    result = cli("wait", "nobody", "--timeout", "0.2s", "--json")
    assert (result.code, result.json["state"]) == (1, "running")
    assert "the time to wait is over" in result.stderr


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without a schema."""
    with new_database(postgres.url, f"empty_{next(_numbers)}", template="template0") as url:
        yield url


def test_a_shared_database_is_upgraded_by_hand(cli: Cli, empty_database_url: str) -> None:
    shared = {"ORCHESTRATOR_DATABASE_URL": empty_database_url}
    before = cli("status", env=shared)
    assert before.code == 4
    assert "orchestrator db upgrade" in before.stderr
    upgraded = cli("db", "upgrade", "--json", env=shared)
    assert upgraded.code == 0
    assert cli("db", "upgrade", "--json", env=shared).json == upgraded.json
    assert cli("status", "--json", env=shared).json == []


def test_the_embedded_database_is_upgraded_too(cli: Cli) -> None:
    assert cli("db", "upgrade").code == 0
