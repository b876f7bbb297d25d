"""Links to objects on S3: plain where anybody may read them, signed where not."""

import httpx
import pytest

from orchestrator.assets.links import S3Links
from orchestrator.assets.s3 import s3_client

KEY = "spring/a b#?ü.png"


@pytest.mark.parametrize(("acl", "is_signed"), [("public-read", False), ("private", True)])
def test_links_open_what_they_name(bucket: str, acl: str, is_signed: bool) -> None:
    s3_client().put_object(Bucket=bucket, Key=KEY, Body=b"picture", ACL=acl)
    links = S3Links(3600)
    link = links.link(f"s3://{bucket}/{KEY}")
    assert httpx.get(link).content == b"picture"
    assert (links.has_signed, "X-Amz-Expires=3600" in link, "?" in link) == (is_signed, is_signed, is_signed)
    assert httpx.get(link.partition("?")[0]).is_success != is_signed
