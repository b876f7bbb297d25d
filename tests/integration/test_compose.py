"""The Compose file: valid, pinned, closed to the outside, and naming commands that exist."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from orchestrator.base.logs import redactor

from .compose_stack import interpolated, services

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = services()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_it_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/data/compose_spec.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize("name", sorted(OURS.keys() - {"bucket"}))
def test_each_command_exists(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes exactly these options: `--help` at its end is reached only past valid ones."""
    program, *arguments = (interpolated(word, {}) for word in OURS[name]["command"])
    run = [str(Path(sys.executable).with_name(program)), *arguments, "--help"]
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", "redis://127.0.0.1:1/0")
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("image", [service["image"] for service in SERVICES.values()])
def test_each_image_is_pinned(image: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-bookworm)?", image)


def test_the_image_is_pinned_hashed_and_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert all(
        re.match(r"FROM python:\d+\.\d+\.\d+-slim-bookworm\b", line) for line in lines if line.startswith("FROM")
    )
    assert any("--require-hashes -r requirements.txt" in line for line in lines)
    assert any(line.startswith("USER ") and line != "USER 0" for line in lines)


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, "http://127.0.0.1:8333"),
        ({"AWS_ENDPOINT_URL_S3": "https://s3.example.com"}, "https://s3.example.com"),
        ({"ORCHESTRATOR_LINKS_ENDPOINT": "https://files.example.com"}, "https://files.example.com"),
    ],
)
def test_links_lead_where_the_store_is_published(variables: dict[str, str], endpoint: str) -> None:
    assert interpolated(SERVICES["worker"]["environment"]["ORCHESTRATOR_LINKS_ENDPOINT"], variables) == endpoint


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    named = re.findall(r"\$\{(\w*(?:PASSWORD|AUTH|KEY|SECRET)\w*)(:\?)?", text)
    assert {name for name, _ in named} == {
        "POSTGRES_PASSWORD", "FLOWER_BASIC_AUTH", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"
    }  # fmt: skip
    assert all(required for _, required in named)


def test_what_is_published_asks_for_a_password_and_is_open_to_this_machine_only() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "flower": ["127.0.0.1:5555:5555"],
        "s3": ["127.0.0.1:8333:8333"],
    }
    assert DOCUMENT["networks"]["store"] == DOCUMENT["networks"]["objects"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["store"]


def test_whoever_needs_no_objects_does_not_reach_the_store() -> None:
    """Its own ports, beside that of S3, ask for no password: the network that it is published by is nobody else's."""
    beside = {network for network in SERVICES["s3"]["networks"] if network != "objects"}
    assert beside
    for name in SERVICES.keys() - {"s3"}:
        assert not beside & set(SERVICES[name].get("networks", ())), name
    assert {name for name, service in SERVICES.items() if "objects" in service.get("networks", ())} == {
        "s3", "bucket", "worker", "sandbox"
    }  # fmt: skip


def test_credentials_reach_only_the_workers() -> None:
    assert {name for name, service in SERVICES.items() if "KATANA_API_SECRET" in service.get("environment", {})} == {
        "worker", "sandbox-worker"
    }  # fmt: skip


def test_the_worker_of_the_sandbox_is_a_worker_that_shares_its_network() -> None:
    worker, beside = SERVICES["worker"], SERVICES["sandbox-worker"]
    differs = {key for key in worker.keys() | beside.keys() if worker.get(key) != beside.get(key)}
    assert differs == {"profiles", "network_mode", "networks", "environment", "volumes", "depends_on"}
    assert {key for key, value in beside["environment"].items() if worker["environment"].get(key) != value} == {
        "KATANA_BASE_URL", "KATANA_API_KEY", "KATANA_API_SECRET"
    }  # fmt: skip
    assert redactor([beside["environment"][f"KATANA_API_{each}"] for each in ("KEY", "SECRET")])("sandbox") == "sandbox"
    assert beside["network_mode"] == "service:sandbox"
    assert SERVICES["sandbox"]["networks"] == ["store", "objects"], "the stand-in provider reaches nobody outside"


def test_redis_never_evicts() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_whatever_runs_on_is_asked_for_its_health() -> None:
    assert all("healthcheck" in service for service in SERVICES.values() if service["restart"] == "unless-stopped")


def test_services_come_back_and_wait_for_what_they_need() -> None:
    assert all(service["restart"] in ("unless-stopped", "on-failure") for service in SERVICES.values())
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed]
    assert SERVICES["worker"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
