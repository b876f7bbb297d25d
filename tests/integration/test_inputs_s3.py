"""Inputs on S3: fetched once, fetched again when they change, and told apart when they cannot be."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.assets import s3
from orchestrator.assets.remote import S3Inputs, forget_unused
from orchestrator.base.settings import load_settings
from orchestrator.manifest.files import RemoteFault, RemoteOutage
from orchestrator.operations.planning import plan
from orchestrator.planner.media import read_blob

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def put(bucket: str, key: str, data: bytes) -> str:
    s3.s3_client().put_object(Bucket=bucket, Key=key, Body=data)
    return f"s3://{bucket}/{key}"


def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all objects that are fetched from now on."""
    fetched: list[str] = []
    get = s3.s3_client().get_object

    def counted(**address: Any) -> Any:
        fetched.append(address["Key"])
        return get(**address)

    monkeypatch.setattr(s3.s3_client(), "get_object", counted)
    return fetched


def test_what_stays_the_same_is_fetched_once(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = put(bucket, "photos/möse 1%20.png", b"first")
    fetched = fetches(monkeypatch)
    assert S3Inputs(tmp_path).read(uri) == b"first"
    path = S3Inputs(tmp_path).file(uri)
    assert (path.read_bytes(), fetched) == (b"first", ["photos/möse 1%20.png"])
    put(bucket, "photos/möse 1%20.png", b"second")
    assert S3Inputs(tmp_path).read(uri) == b"second"
    assert path.read_bytes() == b"first"
    assert len(fetched) == 2


def test_a_cut_file_is_fetched_again(bucket: str, tmp_path: Path) -> None:
    uri = put(bucket, "a.csv", b"id,prompt\n")
    S3Inputs(tmp_path).file(uri).write_bytes(b"id")
    assert S3Inputs(tmp_path).read(uri) == b"id,prompt\n"


def test_what_nobody_asks_for_is_forgotten(bucket: str, tmp_path: Path) -> None:
    old, used = S3Inputs(tmp_path).file(put(bucket, "old", b"x")), S3Inputs(tmp_path).file(put(bucket, "used", b"x"))
    for path in (old, used):
        os.utime(path, (0, 0))
    assert S3Inputs(tmp_path).file(f"s3://{bucket}/used") == used
    assert forget_unused(tmp_path, 3600) == 1
    assert (old.exists(), used.exists()) == (False, True)
    assert forget_unused(tmp_path / "nowhere", 0) == 0


def test_many_at_once(bucket: str, tmp_path: Path) -> None:
    uris = [put(bucket, f"{number}", str(number).encode()) for number in range(5)] * 4
    inputs = S3Inputs(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(inputs.read, uris))
    assert found == [str(number).encode() for number in range(5)] * 4
    assert not list(tmp_path.rglob("*.part"))


def test_an_object_that_is_replaced_meanwhile_is_read_whole(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = put(bucket, "a", b"old")
    head = s3.s3_client().head_object
    news = [b"newer"]

    def then_replaced(**address: Any) -> Any:
        answer = head(**address)
        if news:
            put(bucket, "a", news.pop())
        return answer

    monkeypatch.setattr(s3.s3_client(), "head_object", then_replaced)
    assert S3Inputs(tmp_path).read(uri) == b"newer"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://", "must be s3://bucket/key"),
        ("s3://{bucket}", "must be s3://bucket/key"),
        ("s3://{bucket}/none.png", "does not exist"),
        ("s3://b-nobodys/none.png", "does not exist"),
        ("s3://no bucket/none.png", "has no name that a bucket or an object could have"),
    ],
)
def test_what_cannot_be_read(bucket: str, tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(RemoteFault) as caught:
        S3Inputs(tmp_path).read(uri.format(bucket=bucket))
    assert caught.value.message == message
    assert not isinstance(caught.value, RemoteOutage)


def test_faults_name_no_secret(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = put(bucket, "a", b"x")
    (tmp_path / "cache").write_bytes(b"in the way")
    with pytest.raises(RemoteOutage, match=r"cannot be kept in .*: (File exists|Not a directory)"):
        S3Inputs(tmp_path / "cache").read(uri)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    s3.s3_client.cache_clear()
    with pytest.raises(RemoteOutage) as caught:
        S3Inputs(tmp_path).read(uri)
    assert caught.value.message == "cannot be read: EndpointConnectionError; check the AWS_* settings"


def test_a_manifest_with_all_its_files_on_s3(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path))
    red = (GOLDEN / "media" / "red.png").read_bytes()
    for sku in ("mug", "cup"):
        put(bucket, f"spring/photos/{sku}.png", red)
    put(bucket, "spring/products.csv", b"sku\nmug\ncup\n")
    text = (
        "version: 1\nname: t\ndestination: out\njobs:\n  - {id: '{{ sku }}', for_each: ./products.csv,\n"
        "     model: gpt-image-2, prompt: x, aspect_ratio: 1:1,\n     image_urls: ['./photos/{{ sku }}.png', 's3://BUCKET/spring/photos/mug.png']}\n"
    )
    uri = put(bucket, "spring/batch.yaml", text.replace("BUCKET", bucket).encode())
    planned = plan(Path(uri), load_settings())
    assert (planned.errors, planned.file, planned.destination) == ((), uri, f"s3://{bucket}/spring/out")
    medium = {"$media": hashlib.sha256(red).hexdigest(), "prefix": "data:image/png;base64,"}
    assert [job.item["image_urls"] for job in planned.jobs] == [[medium, medium]] * 2
    (blob,) = planned.media.values()
    assert read_blob(blob) == red
    local = tmp_path / "batch.yaml"
    local.write_text(text.replace("BUCKET", bucket).replace("./photos", f"s3://{bucket}/spring/photos").replace(
        "./products.csv", f"s3://{bucket}/spring/products.csv"
    ))  # fmt: skip
    fetched = fetches(monkeypatch)
    assert [job.fingerprint for job in plan(local, load_settings()).jobs] == [job.fingerprint for job in planned.jobs]
    assert fetched == []
