"""An S3 bucket, spoken to over real HTTP: moto's server, and one that knows less than S3 does."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from orchestrator.assets import s3
from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.errors import DestinationFailed, ObjectExists
from orchestrator.base.errors import Unusable

from .s3_site import use_endpoint

KEY = "spring/mug/0-1f9c2b7e.png"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(destination: Destination, folder: Path, data: bytes, **metadata: str) -> str:
    path = folder / sha(data)[:8]
    if not path.exists():
        path.write_bytes(data)
    return destination.put(KEY, path, sha256=sha(data), content_type="image/png", metadata=metadata)


def test_an_object_is_stored_with_its_type_and_metadata(bucket: str, tmp_path: Path) -> None:
    destination = open_destination(f"s3://{bucket}/shop/")
    uri = put(destination, tmp_path, b"picture", job="Tasse 1–rot%", labels="shop=berlin")
    assert uri == f"s3://{bucket}/shop/{KEY}" == destination.uri(KEY)
    assert destination.describe() == f"s3://{bucket}/shop"
    head = s3.s3_client().head_object(Bucket=bucket, Key=f"shop/{KEY}")
    assert head["ContentType"] == "image/png"
    assert head["Metadata"] == {"sha256": sha(b"picture"), "job": "Tasse%201%E2%80%93rot%25", "labels": "shop=berlin"}
    assert destination.read(KEY) == b"picture"


def test_the_same_content_again_is_a_success_and_other_content_is_not(bucket: str, tmp_path: Path) -> None:
    destination = open_destination(f"s3://{bucket}")
    put(destination, tmp_path, b"picture")
    put(destination, tmp_path, b"picture")
    with pytest.raises(ObjectExists):
        put(destination, tmp_path, b"other")
    assert destination.read(KEY) == b"picture"


def test_bytes_are_stored_like_a_file(bucket: str, tmp_path: Path) -> None:
    destination = open_destination(f"s3://{bucket}")
    for _ in range(2):
        destination.put(KEY, b"picture", sha256=sha(b"picture"), content_type="image/png", metadata={})
    put(destination, tmp_path, b"picture")
    with pytest.raises(ObjectExists):
        destination.put(KEY, b"other", sha256=sha(b"other"), content_type="image/png", metadata={})
    assert destination.read(KEY) == b"picture"


def test_many_writers_of_one_key_all_succeed(bucket: str, tmp_path: Path) -> None:
    destination = open_destination(f"s3://{bucket}")
    put(open_destination(f"s3://{bucket}/elsewhere"), tmp_path, b"picture")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: put(destination, tmp_path, b"picture"), range(24)))) == 1


def test_a_large_file_goes_up_in_checked_parts(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MULTIPART_BYTES", 6 * 1024**2)
    monkeypatch.setattr(s3, "_TRANSFER", TransferConfig(multipart_threshold=6 * 1024**2))
    destination = open_destination(f"s3://{bucket}")
    data = b"0123456789abcdef" * (1024**2 * 9 // 16)
    put(destination, tmp_path, data)
    put(destination, tmp_path, data)
    head = s3.s3_client().head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-2"')
    assert head["ContentLength"] == len(data)
    assert "ChecksumSHA256" in head
    with pytest.raises(ObjectExists):
        put(destination, tmp_path, data[:-1])


def test_a_file_that_changed_since_its_download_is_not_stored(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "asset").write_bytes(b"changed")
    destination = open_destination(f"s3://{bucket}")
    with pytest.raises(DestinationFailed, match="not what was downloaded"):
        destination.put(KEY, tmp_path / "asset", sha256=sha(b"asset"), content_type="image/png", metadata={})
    assert destination.read(KEY) is None


def test_more_metadata_than_s3_takes_is_left_out(bucket: str, tmp_path: Path) -> None:
    destination = open_destination(f"s3://{bucket}")
    put(destination, tmp_path, b"picture", job="mug", labels="ü" * 2000)
    assert s3.s3_client().head_object(Bucket=bucket, Key=KEY)["Metadata"] == {"sha256": sha(b"picture"), "job": "mug"}


def test_an_index_is_replaced(bucket: str) -> None:
    destination = open_destination(f"s3://{bucket}")
    destination.put_bytes("spring/index.json", b"[1]", "application/json")
    destination.put_bytes("spring/index.json", b"[]", "application/json")
    assert destination.read("spring/index.json") == b"[]"


def test_it_is_known_what_a_bucket_holds(bucket: str, tmp_path: Path) -> None:
    destination = open_destination(f"s3://{bucket}/shop")
    assert not destination.holds(KEY, sha(b"picture"))
    put(destination, tmp_path, b"picture")
    assert destination.holds(KEY, sha(b"picture"))
    assert not destination.holds(KEY, sha(b"other"))
    destination.put_bytes(KEY, b"touched up", "image/png")
    assert not destination.holds(KEY, sha(b"picture"))
    assert destination.holds(KEY, sha(b"touched up"))  # nobody vouches for it: it is read


def test_an_object_can_be_read_as_a_file(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_OPENED_IN_MEMORY_BYTES", 3)
    destination = open_destination(f"s3://{bucket}/out")
    assert destination.open(KEY) is None
    destination.put_bytes(KEY, b"picture", "image/png")
    file = destination.open(KEY)
    assert file is not None
    with file:
        assert (file.read(), file.seek(3), file.read()) == (b"picture", 3, b"ture")


def test_a_bucket_that_does_not_answer_is_no_missing_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(DestinationFailed, match="cannot look for"):
        open_destination("s3://gone/shop").holds(KEY, sha(b"picture"))
    s3.s3_client.cache_clear()


def test_a_bucket_that_is_gone_is_no_missing_object(bucket: str) -> None:
    """A HEAD is answered without a word: both are a 404."""
    with pytest.raises(DestinationFailed, match="NoSuchBucket") as caught:
        open_destination(f"s3://{bucket}-absent").holds(KEY, sha(b"picture"))
    assert caught.value.hint == "create the bucket first"


def test_the_probe_leaves_nothing_behind(bucket: str) -> None:
    open_destination(f"s3://{bucket}/shop").probe()
    assert s3.s3_client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_missing_bucket_fails_the_probe_with_advice(bucket: str) -> None:
    with pytest.raises(Unusable, match="NoSuchBucket") as caught:
        open_destination(f"s3://{bucket}-absent").probe()
    assert caught.value.hint == "create the bucket first"


def test_a_destination_that_is_down_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(monkeypatch, "http://user:secret@127.0.0.1:9")
    with pytest.raises(DestinationFailed, match="EndpointConnectionError") as caught:
        put(open_destination("s3://bucket"), tmp_path, b"picture")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(Unusable):
        open_destination("s3://bucket").probe()
    s3.s3_client.cache_clear()


class OtherMaker(BaseHTTPRequestHandler):
    """Keeps objects, refuses checksums and conditions, and checks Content-MD5: the oldest S3 there is."""

    protocol_version = "HTTP/1.1"
    server: "OtherMakersServer"

    def do_PUT(self) -> None:
        names = {name.lower() for name in self.headers}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(names)
        if "if-none-match" in names or any(name.startswith("x-amz-checksum") for name in names):
            self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")
        elif self.headers["Content-MD5"] != base64.b64encode(md5(body, usedforsecurity=False).digest()).decode():
            self._answer(400, b"<Error><Code>BadDigest</Code></Error>")
        else:
            self.server.objects[self.path] = (body, self.headers["x-amz-meta-sha256"])
            self._answer(200)

    def do_HEAD(self) -> None:
        _, sha256 = self.server.objects.get(self.path, (None, None))
        self._answer(200 if sha256 else 404, sha256=sha256)

    def _answer(self, status: int, body: bytes = b"", sha256: str | None = None) -> None:
        self.send_response(status)
        if sha256:
            self.send_header("x-amz-meta-sha256", sha256)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class OtherMakersServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), OtherMaker)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.seen: list[set[str]] = []


@pytest.fixture
def other_maker(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherMakersServer]:
    with OtherMakersServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use_endpoint(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        yield server
        server.shutdown()
    s3.s3_client().close()
    s3.s3_client.cache_clear()


def test_a_server_without_checksums_and_conditions_is_used_plainly(
    other_maker: OtherMakersServer, tmp_path: Path
) -> None:
    destination = open_destination("s3://bucket")
    put(destination, tmp_path, b"picture")
    put(destination, tmp_path, b"picture")
    with pytest.raises(ObjectExists):
        destination.put(KEY, b"other", sha256=sha(b"other"), content_type="image/png", metadata={})
    destination.put("b", b"bytes", sha256=sha(b"bytes"), content_type="image/png", metadata={})
    assert other_maker.objects.pop("/bucket/b") == (b"bytes", sha(b"bytes"))
    assert other_maker.objects == {f"/bucket/{KEY}": (b"picture", sha(b"picture"))}
    asked_for = [bool({"if-none-match", "x-amz-checksum-sha256"} & names) for names in other_maker.seen]
    assert asked_for == [True, False, False], "the new headers are tried once, with a checksum; plain uploads follow"
