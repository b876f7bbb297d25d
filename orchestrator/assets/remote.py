"""Inputs on S3: manifests, rows and media, each fetched once as long as it stays the same there."""

import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from orchestrator.assets.s3 import s3_client
from orchestrator.manifest.files import RemoteFault, RemoteOutage

_ABSENT = ("NoSuchKey", "NoSuchBucket", "NotFound", "404")
_CHANGED = ("PreconditionFailed", "412")
_TRIES = 3  # of an object that is replaced while it is fetched


class S3Inputs:
    """Reads s3:// objects by way of files in `cache`. Safe to use from several threads."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def read(self, uri: str) -> bytes:
        """The object's bytes. Raises RemoteFault, and RemoteOutage where it may be there all the same."""
        path = self.file(uri)
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unusable(self._cache, error) from None

    def file(self, uri: str) -> Path:
        """A file that holds the object as it is now, not to be changed. Raises as `read`.

        The object is asked for its ETag and size, and fetched only where they are new.
        """
        bucket, _, key = uri.partition("://")[2].partition("/")
        if not bucket or not key:
            raise RemoteFault("must be s3://bucket/key")
        for _ in range(_TRIES):
            try:
                return self._current(uri, {"Bucket": bucket, "Key": key})
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", "Unknown"))
                if code in _ABSENT:
                    raise RemoteFault("does not exist") from None
                if code not in _CHANGED:
                    raise RemoteOutage(f"cannot be read: {code}; check the AWS_* settings") from None
            except ParamValidationError:
                raise RemoteFault("has no name that a bucket or an object could have") from None
            except (BotoCoreError, Boto3Error) as error:
                raise RemoteOutage(f"cannot be read: {type(error).__name__}; check the AWS_* settings") from None
            except OSError as error:
                raise _unusable(self._cache, error) from None
        raise RemoteOutage("cannot be read: it is being replaced all the time")

    def _current(self, uri: str, address: dict[str, str]) -> Path:
        head = s3_client().head_object(**address)
        version = f"{uri}\n{head['ETag']}\n{head['ContentLength']}"
        name = hashlib.sha256(version.encode()).hexdigest()
        path = self._cache / name[:2] / name
        if path.is_file() and path.stat().st_size == head["ContentLength"]:
            os.utime(path)  # so that a clean-up can tell what is still in use
        else:
            _fetch(path, {**address, "IfMatch": head["ETag"]})
        return path


def forget_unused(cache: Path, age_seconds: float) -> int:
    """Deletes the files of `cache` that nobody has asked for in so long; returns how many these were."""
    before = time.time() - age_seconds
    unused = [path for path in cache.glob("*/*") if path.is_file() and path.stat().st_mtime < before]
    for path in unused:
        path.unlink(missing_ok=True)
    return len(unused)


def _fetch(path: Path, address: dict[str, Any]) -> None:
    """A crash, or another process that does the same, leaves no half of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            for chunk in s3_client().get_object(**address)["Body"].iter_chunks(1024**2):
                file.write(chunk)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _unusable(cache: Path, error: OSError) -> RemoteOutage:
    return RemoteOutage(f"cannot be kept in {cache}: {error.strerror or type(error).__name__}")
