"""Links to stored objects for browsers: plain where anybody may read them, signed for a while where not."""

from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.base.errors import Unusable

#: The longest that S3 lets a signed link live.
MAX_LINK_SECONDS = 7 * 86_400
_TIMES = {"connect_timeout": 10, "read_timeout": 20}


class S3Links:
    """Makes links to s3:// URIs. Whether a bucket's objects are public is asked once, of the first one."""

    def __init__(self, life_seconds: int) -> None:
        self._life_seconds = min(life_seconds, MAX_LINK_SECONDS)
        self._signing = _client(signature_version="s3v4")
        self._open = _client(signature_version=UNSIGNED)
        self._is_public: dict[str, bool] = {}
        self.has_signed = False

    def link(self, uri: str) -> str:
        """An http(s):// link to an object. Raises Unusable without credentials to sign a private one's with."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if self._may_all_read(bucket, key):
            return self._url(self._open, bucket, key)
        self.has_signed = True
        return self._url(self._signing, bucket, key)

    def _may_all_read(self, bucket: str, key: str) -> bool:
        if bucket not in self._is_public:
            try:
                self._open.head_object(Bucket=bucket, Key=key)
                self._is_public[bucket] = True
            except (ClientError, BotoCoreError):
                self._is_public[bucket] = False
        return self._is_public[bucket]

    def _url(self, client: Any, bucket: str, key: str) -> str:
        place = {"Bucket": bucket, "Key": key}
        try:
            url: str = client.generate_presigned_url("get_object", Params=place, ExpiresIn=self._life_seconds)
        except BotoCoreError as error:
            raise Unusable(
                f"a link to s3://{bucket} cannot be signed: {type(error).__name__}",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            ) from None
        return url


def _client(signature_version: Any) -> Any:
    return boto3.client("s3", config=Config(signature_version=signature_version, **_TIMES))
