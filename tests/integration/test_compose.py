"""The Compose file: valid, pinned, closed to the outside, and naming commands that exist."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_it_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/data/compose_spec.json").read_text())
    assert [error.message for error in Draft201909Validator(schema).iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize("name", OURS)
def test_each_command_exists(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes exactly these options: `--help` at its end is reached only past valid ones."""
    program, *arguments = OURS[name]["command"]
    run = [str(Path(sys.executable).with_name(program)), *arguments, "--help"]
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", "redis://127.0.0.1:1/0")
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("image", [service["image"] for service in SERVICES.values()])
def test_each_image_is_pinned(image: str) -> None:
    assert re.fullmatch(r"[a-z-]+:\d+\.\d+(\.\d+)?(-bookworm)?", image)


def test_the_image_is_pinned_hashed_and_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert all(
        re.match(r"FROM python:\d+\.\d+\.\d+-slim-bookworm\b", line) for line in lines if line.startswith("FROM")
    )
    assert any("--require-hashes -r requirements.txt" in line for line in lines)
    assert any(line.startswith("USER ") and line != "USER 0" for line in lines)


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    named = re.findall(r"\$\{(\w*(?:PASSWORD|AUTH|KEY|SECRET)\w*)(:\?)?", text)
    assert {"POSTGRES_PASSWORD", "FLOWER_BASIC_AUTH", "KATANA_API_KEY", "KATANA_API_SECRET"} == {
        name for name, _ in named
    }
    assert all(required for _, required in named)


def test_only_flower_is_published_and_only_to_this_machine() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "flower": ["127.0.0.1:5555:5555"]
    }
    assert DOCUMENT["networks"]["store"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["store"]


def test_credentials_reach_only_the_workers() -> None:
    assert [name for name, service in SERVICES.items() if "KATANA_API_SECRET" in service.get("environment", {})] == [
        "worker"
    ]


def test_redis_never_evicts() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_services_come_back_and_wait_for_what_they_need() -> None:
    assert all(service["restart"] in ("unless-stopped", "on-failure") for service in SERVICES.values())
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed]
    assert SERVICES["worker"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
