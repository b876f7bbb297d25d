"""What the Compose file describes does what it says: a batch goes through all of its services into the bucket."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import psycopg
import pytest

from orchestrator.store.embedded import EmbeddedPostgres

from .compose_stack import Stack
from .redis_server import free_port, require_redis

pytestmark = pytest.mark.redis

JOBS = 4
VARIABLES = {
    "POSTGRES_PASSWORD": "pg-secret",
    "FLOWER_BASIC_AUTH": "someone:flower-secret",
    "S3_ACCESS_KEY_ID": "orchestrator",
    "S3_SECRET_ACCESS_KEY": "s3-secret",
    "SANDBOX_TIME_SCALE": "0.05",
}


@pytest.fixture
def server_of_the_stack(postgres: EmbeddedPostgres) -> Iterator[str]:
    """What of its URL begins at the `@`: an empty database, and a role that owns it and may do nothing else."""
    admin = postgres.url.replace("+psycopg", "").replace("/orchestrator?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE orchestrator LOGIN")
        connection.execute("CREATE DATABASE compose OWNER orchestrator")
        yield "@/compose?" + postgres.url.partition("?")[2]
        connection.execute("DROP DATABASE compose WITH (FORCE)")
        connection.execute("DROP ROLE orchestrator")


@pytest.fixture
def stack(tmp_path: Path, server_of_the_stack: str, moto_url: str) -> Iterator[Stack]:
    require_redis()
    replaced = {port: str(free_port()) for port in ("6379", "8700", "9464", "5555")}
    replaced |= {
        "@postgres:5432/orchestrator": server_of_the_stack,
        "http://s3:8333": moto_url,
        "@redis:": "@127.0.0.1:",
        "//redis:": "//127.0.0.1:",
        "0.0.0.0": "127.0.0.1",
        "/data": str(tmp_path),
    }
    more = {"redis": ["--bind", "127.0.0.1"]}
    with Stack(tmp_path, VARIABLES, replaced, more, played=frozenset({"postgres", "s3"})) as stack:
        yield stack


def test_a_batch_goes_through_the_whole_stack_into_the_bucket(stack: Stack, moto_url: str) -> None:
    stack.up("sandbox-worker", "beat", "flower")
    manifest = stack.folder / "things.jsonl"
    manifest.write_text("".join(json.dumps(image(number)) + "\n" for number in range(JOBS)))
    submitted = stack.run("sandbox-worker", "orchestrator", "submit", str(manifest), "--yes", "--wait", "--json")
    assert submitted.returncode == 0, submitted.stderr + stack.logs()
    document = json.loads(submitted.stdout)
    assert (document["state"], document["jobs"]["completed"], document["sandbox"]) == ("completed", JOBS, False)

    keys = keys_of_the_bucket(moto_url)
    assert len([key for key in keys if key.startswith("things/image-") and key.endswith(".png")]) == JOBS
    assert "things/index.json" in keys
    assert stack.is_healthy("sandbox-worker")
    assert stack.is_healthy("flower")
    assert stack.is_healthy("beat")
    assert set(stack.down().values()) == {0}
    assert not any(secret in stack.logs() for secret in ("pg-secret", "flower-secret", "s3-secret"))


def image(number: int) -> dict[str, str]:
    return {
        "id": f"image-{number}",
        "type": "image",
        "model": "gen",
        "prompt": f"Thing {number}",
        "aspect_ratio": "1:1",
    }


def keys_of_the_bucket(url: str) -> list[str]:
    keys = {"aws_access_key_id": "orchestrator", "aws_secret_access_key": "s3-secret", "region_name": "us-east-1"}
    listed = boto3.client("s3", endpoint_url=url, **keys).list_objects_v2(Bucket="assets")
    return [found["Key"] for found in listed["Contents"]]
