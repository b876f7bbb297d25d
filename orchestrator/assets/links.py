"""Links to stored objects for browsers: plain where anybody may read them, signed for a while where not."""

from datetime import UTC, datetime, timedelta
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
    """Makes links to s3:// URIs. Whether objects are public is asked of the first one under each folder two levels up,
    which all jobs of a collection share: a policy opens a part of a bucket by its prefix.

    `endpoint` is where browsers reach the store, in case that is not where this process does.
    """

    def __init__(self, life_seconds: int, endpoint: str | None = None) -> None:
        self._life_seconds = min(life_seconds, MAX_LINK_SECONDS)
        self._session = boto3.Session()
        self._signing = self._client("s3v4", endpoint)
        self._open = self._client(UNSIGNED, endpoint)
        self._asking = self._client(UNSIGNED)
        self._is_public: dict[tuple[str, str], bool] = {}
        #: When the first of the signed links ends, as far as that is known; None before there is one.
        self.end_at: datetime | None = None
        #: Whether they may end sooner: with temporary credentials that do not say when they do.
        self.may_end_sooner = False

    def link(self, uri: str) -> str:
        """An http(s):// link to an object. Raises Unusable without credentials to sign a private one's with."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if self._may_all_read(bucket, key):
            return self._url(self._open, bucket, key)
        signed_at = datetime.now(UTC)
        url = self._url(self._signing, bucket, key)
        self._note_end(signed_at + timedelta(seconds=self._life_seconds))
        return url

    def _note_end(self, end_at: datetime) -> None:
        """A link lives no longer than the credentials that it was signed with: those of a role are temporary."""
        credentials = self._session.get_credentials()
        if credentials.token is not None:
            # botocore knows it of credentials that it refreshes itself, and has no public name for it.
            expiry: datetime | None = getattr(credentials, "_expiry_time", None)
            self.may_end_sooner = self.may_end_sooner or expiry is None
            end_at = min(end_at, expiry or end_at)
        self.end_at = min(end_at, self.end_at or end_at)

    def _may_all_read(self, bucket: str, key: str) -> bool:
        part = bucket, "/".join(key.split("/")[:-2])
        if part not in self._is_public:
            try:
                self._asking.head_object(Bucket=bucket, Key=key)
                self._is_public[part] = True
            except (ClientError, BotoCoreError):
                self._is_public[part] = False
        return self._is_public[part]

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

    def _client(self, signature_version: Any, endpoint: str | None = None) -> Any:
        config = Config(signature_version=signature_version, retries={"total_max_attempts": 2}, **_TIMES)
        return self._session.client("s3", endpoint_url=endpoint, config=config)
