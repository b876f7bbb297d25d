"""An S3 bucket as a destination: SHA-256 checked by the server, conditional writes, secret-free errors."""

import base64
import hashlib
import os
import shutil
import string
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from io import BufferedReader
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import quote
from uuid import uuid4

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.configprovider import ConstantProvider
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from orchestrator.assets.errors import DestinationFailed, ObjectExists
from orchestrator.base import faults
from orchestrator.base.errors import Unusable

MULTIPART_BYTES = 64 * 1024**2
_OPENED_IN_MEMORY_BYTES = 16 * 1024**2
_METADATA_BYTES = 1900  # S3 allows 2 KB of user metadata in all, names included
_TAKEN = ("PreconditionFailed", "412")
_ABSENT = ("NoSuchKey", "NotFound", "404")
_FORBIDDEN = ("AccessDenied", "Forbidden", "403")  # the answer for an absent key to those who may not list
_HEADER_UNKNOWN = ("NotImplemented", "InvalidRequest", "InvalidArgument", "501", "400")
_HINTS = {
    "NoSuchBucket": "create the bucket first",
    "AccessDenied": "allow s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket on the destination",
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
}
_HEADER_SAFE = string.punctuation.replace("%", "")
_DEFAULT_HINT = "check the AWS_* settings, the bucket's name and its region"
_CONFIG = Config(connect_timeout=10, read_timeout=60, max_pool_connections=32)
# Checksums beyond our own are sent only where S3 requires them: other makers' servers refuse them
# (boto/botocore#3277).
_DEFAULTS = {
    "retry_mode": "standard",
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
_md5 = partial(hashlib.md5, usedforsecurity=False)  # guards a transfer, nothing else
_TRANSFER = TransferConfig(multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES // 4)


@cache
def s3_client() -> Any:
    """The process's one client (boto3 clients may be shared by threads), made when first needed.

    Set as defaults, the choices above give way to AWS_RETRY_MODE, AWS_REQUEST_CHECKSUM_CALCULATION and so on.
    """
    session = Session()
    store = session.get_component("config_store")
    for name, value in _DEFAULTS.items():
        store.get_config_provider(name).set_default_provider(ConstantProvider(value))
    return boto3.Session(botocore_session=session).client("s3", config=_CONFIG)


os.register_at_fork(after_in_child=s3_client.cache_clear)  # a forked worker makes its own connections


class S3Destination:
    """Objects under `prefix` of a bucket; boto3's own settings say where the bucket is and who we are."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._is_plain = False

    def describe(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def probe(self) -> None:
        key = f".probe-{uuid4().hex}"
        try:
            self.put_bytes(key, b"probe", "text/plain")
            found = self.read(key)
            with _failing("delete the probe"):
                s3_client().delete_object(**self._at(key))
        except DestinationFailed as error:
            raise Unusable(
                f"the destination {self.describe()} cannot be used: {error.message}", hint=error.hint
            ) from None
        if found != b"probe":
            raise Unusable(f"the destination {self.describe()} does not give back what is written to it")

    def put(
        self,
        key: str,
        content: bytes | Path,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        may_link: bool = False,
    ) -> str:
        described = {
            "ContentType": content_type,
            "Metadata": _user_metadata({"sha256": sha256, **metadata}),
        }
        with _failing(f"store {key}"):
            if isinstance(content, bytes):
                faults.point("upload.request")
                self._put_once(key, content, sha256, described)
            else:
                self._put_file(key, content, sha256, described)
            faults.point("upload.answered")
        return self.uri(key)

    def _put_file(self, key: str, path: Path, sha256: str, described: dict[str, Any]) -> None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DestinationFailed(f"cannot store {key}: the file is not what was downloaded")
            faults.point("upload.request")
            if path.stat().st_size > MULTIPART_BYTES:
                self._put_in_parts(key, path, sha256, described)
            else:
                self._put_once(key, file, sha256, described)

    def put_bytes(self, key: str, data: bytes, content_type: str) -> str:
        with _failing(f"store {key}"):
            faults.point("upload.request")
            s3_client().put_object(
                **self._at(key),
                Body=data,
                ContentType=content_type,
                ContentMD5=_base64(_md5(data).digest()),
            )
            faults.point("upload.answered")
        return self.uri(key)

    def read(self, key: str) -> bytes | None:
        with _failing(f"read {key}"):
            try:
                body: bytes = s3_client().get_object(**self._at(key))["Body"].read()
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return body

    def open(self, key: str) -> BinaryIO | None:
        """A large one is fetched to a temporary file, without a name."""
        with ExitStack() as undoing, _failing(f"read {key}"):
            try:
                body = s3_client().get_object(**self._at(key))["Body"]
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            file = undoing.enter_context(SpooledTemporaryFile(_OPENED_IN_MEMORY_BYTES))
            shutil.copyfileobj(body, file, 1024**2)
            file.seek(0)
            undoing.pop_all()
        return cast(BinaryIO, file)

    def has(self, key: str) -> bool:
        with _failing(f"look for {key}"):
            try:
                s3_client().head_object(**self._at(key))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return False
                raise
        return True

    def holds(self, key: str, sha256: str) -> bool:
        with _failing(f"look for {key}"):
            try:
                vouched = _vouched_hash(s3_client().head_object(**self._at(key), ChecksumMode="ENABLED"))
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                vouched = ""  # a HEAD does not tell whether the object or the whole bucket is gone: reading does
        if vouched:
            return vouched == sha256
        data = self.read(key)
        return data is not None and hashlib.sha256(data).hexdigest() == sha256

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _put_once(self, key: str, body: bytes | BufferedReader, sha256: str, described: dict[str, Any]) -> None:
        """One conditional PUT whose body the server checks; in the plain form where the server knows no better."""
        checksum = _base64(bytes.fromhex(sha256))
        if self._is_plain:
            self._put_plain(key, body, sha256, described)
            return
        try:
            _put_object(self._at(key), body, ChecksumSHA256=checksum, IfNoneMatch="*", **described)
        except ClientError as error:
            if _code(error) in _TAKEN:
                self._expect_same(key, sha256)
                return
            if _code(error) not in _HEADER_UNKNOWN:
                raise
            self._put_plain(key, body, sha256, described)
            self._is_plain = True

    def _put_plain(self, key: str, body: bytes | BufferedReader, sha256: str, described: dict[str, Any]) -> None:
        """For servers that refuse SHA-256 checksums or conditions: look first, and let Content-MD5 be checked."""
        if self._hash_of(key) is not None:
            self._expect_same(key, sha256)
            return
        _put_object(self._at(key), body, ContentMD5=_base64(_md5_of(body)), **described)

    def _put_in_parts(self, key: str, path: Path, sha256: str, described: dict[str, Any]) -> None:
        """Parts with a SHA-256 each. boto3's transfers take no condition, so the key is looked at first."""
        if self._hash_of(key) is not None:
            self._expect_same(key, sha256)
            return
        s3_client().upload_file(
            str(path),
            self._bucket,
            self._prefix + key,
            ExtraArgs=described if self._is_plain else {**described, "ChecksumAlgorithm": "SHA256"},
            Config=_TRANSFER,
        )

    def _expect_same(self, key: str, sha256: str) -> None:
        stored = self._hash_of(key)
        if stored is None:
            raise DestinationFailed(f"cannot store {key}: it is there and is not, by the destination's answers")
        if stored != sha256:
            raise ObjectExists(f"cannot store {key}: the destination holds other content under this name")

    def _hash_of(self, key: str) -> str | None:
        """The stored object's SHA-256 (hex; "" if unknown); None where there is no object, or we may not know."""
        try:
            head = s3_client().head_object(**self._at(key), ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) in _ABSENT or _code(error) in _FORBIDDEN:
                return None
            raise
        return _vouched_hash(head)


def _vouched_hash(head: dict[str, Any]) -> str:
    """The SHA-256 (hex) of an object by its head: what was stated as it was stored, else S3's own; "" if neither."""
    checksum = head.get("ChecksumSHA256", "")
    whole = head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in checksum
    stated: str = head["Metadata"].get("sha256", "")
    return stated or (base64.b64decode(checksum).hex() if whole else "")


def _put_object(place: dict[str, str], body: bytes | BufferedReader, **described: Any) -> None:
    if not isinstance(body, bytes):
        body.seek(0)
    s3_client().put_object(**place, Body=body, **described)


def _md5_of(body: bytes | BufferedReader) -> bytes:
    if isinstance(body, bytes):
        return _md5(body).digest()
    body.seek(0)
    return hashlib.file_digest(body, _md5).digest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _user_metadata(entries: Mapping[str, str]) -> dict[str, str]:
    """Entries as HTTP headers can carry them: percent-encoded, and only as many as S3 takes, in their order."""
    kept: dict[str, str] = {}
    room_bytes = _METADATA_BYTES
    for name, value in entries.items():
        encoded = quote(value, safe=_HEADER_SAFE)
        room_bytes -= len(name) + len(encoded)
        if room_bytes >= 0:
            kept[name] = encoded
    return kept


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


@contextmanager
def _failing(action: str) -> Iterator[None]:
    """Turn whatever boto3 raises into DestinationFailed; its codes hold no secret, its texts may."""
    try:
        yield
    except ClientError as error:
        reason = _code(error)
    except (BotoCoreError, Boto3Error, OSError) as error:
        reason = type(error).__name__
    else:
        return
    raise DestinationFailed(f"cannot {action}: {reason}", hint=_HINTS.get(reason, _DEFAULT_HINT))
