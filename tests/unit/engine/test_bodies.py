"""A body rebuilt from stored items is byte for byte the one that was built first."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.bodies import submission_body

MEDIA = {"a" * 64: b"\x89PNG", "b" * 64: b""}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = TEXT.filter(lambda key: key not in ("$media", "$from"))
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
VALUES = st.recursive(
    SCALARS | st.sampled_from([{"$media": sha256, "prefix": "data:image/png;base64,"} for sha256 in MEDIA]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def read(sha256: str, stored_at: str | None) -> bytes:
    """An input file; what another job made is told apart by where it is stored."""
    return MEDIA[sha256] if stored_at is None else stored_at.encode()


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=3))
def test_a_trip_through_json_changes_no_byte(items: list[dict[str, Any]]) -> None:
    first = submission_body(items, read)
    stored = json.loads(json.dumps(items))
    reordered = [dict(sorted(item.items(), reverse=True)) for item in stored]
    assert submission_body(reordered, read) == first


def test_media_are_put_in_where_they_belong() -> None:
    item = {
        "prompt": "é \u2028 </script>",
        "image_urls": [{"$media": "a" * 64, "prefix": "data:image/png;base64,"}, "https://x/y.png"],
        "video_image_data": {"first_frame_image_url": {"$media": "b" * 64, "prefix": ""}},
    }
    body = json.loads(submission_body([item], read))
    assert body == {
        "requests": [
            {
                "prompt": "é \u2028 </script>",
                "image_urls": ["data:image/png;base64," + base64.b64encode(b"\x89PNG").decode(), "https://x/y.png"],
                "video_image_data": {"first_frame_image_url": ""},
            }
        ]
    }


def test_missing_media_are_not_sent_as_something_else() -> None:
    with pytest.raises(KeyError):
        submission_body([{"image_urls": [{"$media": "c" * 64, "prefix": ""}]}], read)


def test_a_result_is_read_from_where_it_is_stored_and_never_left_open() -> None:
    stored = {"$media": "a" * 64, "prefix": "data:image/png;base64,", "uri": "s3://shop/mug.png"}
    body = json.loads(submission_body([{"image_urls": [stored]}], read))
    sent = "data:image/png;base64," + base64.b64encode(b"s3://shop/mug.png").decode()
    assert body["requests"][0]["image_urls"] == [sent]
    with pytest.raises(ValueError, match="the result of job mug is not there yet"):
        submission_body([{"image_urls": [{"$from": "mug", "use": "original"}]}], read)
