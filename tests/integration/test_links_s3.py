"""Links to objects on S3: plain where anybody may read them, signed where not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
    assert (links.end_at is not None, "X-Amz-Expires=3600" in link, "?" in link) == (is_signed, is_signed, is_signed)
    assert httpx.get(link.partition("?")[0]).is_success != is_signed


def test_links_end_with_the_credentials_that_signed_them(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a role, here from a process that tells when they end."""
    in_an_hour = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    told = {"Version": 1, "AccessKeyId": "AKIAROLE", "SecretAccessKey": "s", "SessionToken": "t"}
    (tmp_path / "role.json").write_text(json.dumps(told | {"Expiration": in_an_hour.isoformat()}))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path / 'role.json'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    links = S3Links(7 * 86_400)
    links.link(f"s3://{bucket}/spring/mug/0.png")
    assert (links.end_at, links.may_end_sooner) == (in_an_hour, False)
    soon = S3Links(60)
    soon.link(f"s3://{bucket}/spring/mug/0.png")
    assert soon.end_at is not None
    assert soon.end_at < in_an_hour


def test_temporary_credentials_that_do_not_say_when_they_end_are_told_of(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
    links = S3Links(3600)
    assert (links.end_at, links.may_end_sooner) == (None, False)
    links.link(f"s3://{bucket}/spring/mug/0.png")
    assert links.end_at is not None
    assert links.may_end_sooner
