"""Input media come back as they were kept, or not at all."""

import hashlib
from pathlib import Path

import pytest

from orchestrator.assets.destination import open_destination
from orchestrator.assets.errors import MediaMissing
from orchestrator.assets.media import MediaStore, StoredResults


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_kept_is_read_by_another_process(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"photo")
    store = MediaStore(open_destination(str(tmp_path / "media")))
    store.put_bytes(sha(b"data"), b"data")
    store.put_file(sha(b"photo"), photo)
    store.put_file(sha(b"photo"), photo)
    other = MediaStore(open_destination(str(tmp_path / "media")))
    assert (other.read(sha(b"data")), other.read(sha(b"photo"))) == (b"data", b"photo")
    assert (tmp_path / "media" / sha(b"data")[:2] / sha(b"data")).read_bytes() == b"data"


def test_missing_media_name_the_setting(tmp_path: Path) -> None:
    with pytest.raises(MediaMissing) as caught:
        MediaStore(open_destination(str(tmp_path))).read(sha(b"absent"))
    assert "ORCHESTRATOR_MEDIA" in str(caught.value.hint)


def test_changed_media_are_not_sent(tmp_path: Path) -> None:
    store = MediaStore(open_destination(str(tmp_path)), cache_bytes=0)
    store.put_bytes(sha(b"data"), b"data")
    (tmp_path / sha(b"data")[:2] / sha(b"data")).write_bytes(b"other")
    with pytest.raises(MediaMissing, match="changed"):
        store.read(sha(b"data"))


def test_bytes_under_a_wrong_hash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not have the hash"):
        MediaStore(open_destination(str(tmp_path))).put_bytes(sha(b"a"), b"b")


def test_the_cache_is_bounded_and_drops_the_least_recent(tmp_path: Path) -> None:
    store = MediaStore(open_destination(str(tmp_path)), cache_bytes=8)
    values = [b"1111", b"2222", b"3333"]
    store.put_bytes(sha(values[0]), values[0])
    store.put_bytes(sha(values[1]), values[1])
    store.read(sha(values[0]))
    store.put_bytes(sha(values[2]), values[2])
    for path in tmp_path.glob("*/*"):
        path.unlink()
    assert store.read(sha(values[0])) == values[0]
    assert store.read(sha(values[2])) == values[2]
    with pytest.raises(MediaMissing):
        store.read(sha(values[1]))


def test_a_stored_result_is_read_by_its_uri_and_checked(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path))
    uri = destination.put_bytes("a shop/mug #1.png", b"picture", "image/png")
    results = StoredResults(cache_bytes=0)
    assert results.read(uri, sha(b"picture")) == b"picture"
    with pytest.raises(MediaMissing, match="has changed"):
        results.read(uri, sha(b"another"))
    with pytest.raises(MediaMissing, match="is no longer at file:///"):
        results.read(destination.uri("gone.png"), sha(b"picture"))
