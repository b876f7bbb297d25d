"""Links to objects on S3: plain where anybody may read them, signed where not."""

import httpx
import pytest

from orchestrator.assets.links import S3Links
from orchestrator.assets.s3 import s3_client

KEY = "spring/a b#?ü.png"


def test_each_part_of_a_bucket_is_as_open_as_it_is(bucket: str) -> None:
    for key, acl in (("reports/page.html", "public-read"), ("spring/mug/0.png", "private")):
        s3_client().put_object(Bucket=bucket, Key=key, Body=b"x", ACL=acl)
    links = S3Links(3600)
    assert "?" not in links.link(f"s3://{bucket}/reports/page.html")
    assert "?" in links.link(f"s3://{bucket}/spring/mug/0.png")


def test_links_lead_where_browsers_reach_the_store(bucket: str) -> None:
    s3_client().put_object(Bucket=bucket, Key="open/x/0.png", Body=b"x", ACL="public-read")
    links = S3Links(3600, "https://store.example.com")
    assert links.link(f"s3://{bucket}/open/x/0.png") == f"https://store.example.com/{bucket}/open/x/0.png"
    assert links.link(f"s3://{bucket}/closed/x/0.png").startswith(f"https://store.example.com/{bucket}/closed/x/0.png?")


@pytest.mark.parametrize(("acl", "is_signed"), [("public-read", False), ("private", True)])
def test_links_open_what_they_name(bucket: str, acl: str, is_signed: bool) -> None:
    s3_client().put_object(Bucket=bucket, Key=KEY, Body=b"picture", ACL=acl)
    links = S3Links(3600)
    link = links.link(f"s3://{bucket}/{KEY}")
    assert httpx.get(link).content == b"picture"
    assert (links.has_signed, "X-Amz-Expires=3600" in link, "?" in link) == (is_signed, is_signed, is_signed)
    assert httpx.get(link.partition("?")[0]).is_success != is_signed
