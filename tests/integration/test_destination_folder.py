"""A folder keeps whole files, durably, and never replaces one by another."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.errors import DestinationFailed, ObjectExists
from orchestrator.base.errors import Unusable

KEY = "spring/mug/0-1f9c2b7e.png"


def put(destination: Destination, path: Path, key: str = KEY) -> str:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return destination.put(key, path, sha256=sha256, content_type="image/png", metadata={"job": "mug"})


def asset(tmp_path: Path, data: bytes = b"picture") -> Path:
    path = tmp_path / f"asset-{hashlib.sha256(data).hexdigest()[:6]}"
    path.write_bytes(data)
    return path


def put_spooled(destination: Destination, content: bytes | Path) -> str:
    data = content if isinstance(content, bytes) else content.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return destination.put(KEY, content, sha256=sha256, content_type="image/png", metadata={}, may_link=True)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_stored_under_its_key(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out put"))
    uri = put(destination, asset(tmp_path))
    assert uri == (tmp_path / "out put" / KEY).as_uri() == destination.uri(KEY)
    assert destination.read(KEY) == b"picture"
    assert files(tmp_path / "out put") == ["0-1f9c2b7e.png"]


def test_bytes_and_a_spooled_file_are_stored_like_any_other(tmp_path: Path) -> None:
    """A file of the same file system becomes the object itself."""
    contents: list[bytes | Path] = [b"picture", asset(tmp_path)]
    for number, content in enumerate(contents):
        destination = open_destination(str(tmp_path / f"out-{number}"))
        put_spooled(destination, content)
        put_spooled(destination, content)
        assert destination.read(KEY) == b"picture"
        assert files(tmp_path / f"out-{number}") == ["0-1f9c2b7e.png"]
        with pytest.raises(ObjectExists):
            put_spooled(destination, b"other")
        with pytest.raises(ObjectExists):
            put_spooled(destination, asset(tmp_path, b"other"))
    assert (tmp_path / "out-1" / KEY).samefile(asset(tmp_path))


def test_a_file_of_somebody_else_is_never_linked(tmp_path: Path) -> None:
    path = asset(tmp_path)
    put(open_destination(str(tmp_path / "out")), path)
    assert not (tmp_path / "out" / KEY).samefile(path)


def test_a_folder_that_hands_on_its_group_gets_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o2775)
    path = asset(tmp_path)
    put_spooled(open_destination(str(tmp_path / "out")), path)
    assert not (tmp_path / "out" / KEY).samefile(path)


def test_a_spooled_file_that_changed_is_not_linked(tmp_path: Path) -> None:
    destination, path = open_destination(str(tmp_path / "out")), asset(tmp_path)
    with pytest.raises(DestinationFailed, match="not what was downloaded"):
        destination.put(KEY, path, sha256="0" * 64, content_type="image/png", metadata={}, may_link=True)
    assert files(tmp_path / "out") == []


def test_the_same_content_again_is_a_success(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    put(destination, asset(tmp_path))
    before = (tmp_path / "out" / KEY).stat()
    put(destination, asset(tmp_path))
    assert (tmp_path / "out" / KEY).stat().st_ino == before.st_ino
    assert files(tmp_path / "out") == ["0-1f9c2b7e.png"]


def test_other_content_never_replaces_a_file(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    put(destination, asset(tmp_path))
    with pytest.raises(ObjectExists):
        put(destination, asset(tmp_path, b"other"))
    assert destination.read(KEY) == b"picture"


def test_a_file_that_changed_since_its_download_is_not_stored(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    with pytest.raises(DestinationFailed, match="not what was downloaded"):
        destination.put(KEY, asset(tmp_path), sha256="0" * 64, content_type="image/png", metadata={})
    assert files(tmp_path / "out") == []


def test_many_writers_of_one_key_all_succeed(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    path = asset(tmp_path, os.urandom(300_000))
    with ThreadPoolExecutor(16) as pool:
        uris = set(pool.map(lambda _: put(destination, path), range(48)))
    assert len(uris) == 1
    assert destination.read(KEY) == path.read_bytes()
    assert files(tmp_path / "out") == ["0-1f9c2b7e.png"]


def test_of_two_contents_for_one_key_exactly_one_wins(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    paths = [asset(tmp_path, os.urandom(100_000)) for _ in range(8)]

    def outcome(path: Path) -> bool:
        try:
            put(destination, path)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(outcome, paths))
    assert won.count(True) == 1
    assert destination.read(KEY) == paths[won.index(True)].read_bytes()


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    destination = open_destination(str(tmp_path / "out"))
    put(destination, asset(tmp_path))
    put(destination, asset(tmp_path))
    put_spooled(open_destination(str(tmp_path / "out-2")), asset(tmp_path))
    assert destination.read(KEY) == b"picture"
    assert files(tmp_path / "out") == files(tmp_path / "out-2") == ["0-1f9c2b7e.png"]


def test_an_index_is_replaced_as_a_whole(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    destination.put_bytes("spring/index.json", b"[1]", "application/json")
    destination.put_bytes("spring/index.json", b"[]", "application/json")
    assert destination.read("spring/index.json") == b"[]"
    assert files(tmp_path / "out") == ["index.json"]


def test_what_is_not_there_reads_as_none(tmp_path: Path) -> None:
    assert open_destination(str(tmp_path)).read("a/b") is None


def test_it_is_known_what_a_folder_holds(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "out"))
    sha256 = hashlib.sha256(b"picture").hexdigest()
    assert not destination.holds(KEY, sha256)
    put(destination, asset(tmp_path))
    assert destination.holds(KEY, sha256)
    (tmp_path / "out" / KEY).write_bytes(b"touched up")
    assert not destination.holds(KEY, sha256)


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "", "a\0b"])
def test_no_key_leaves_the_folder(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        open_destination(str(tmp_path)).put_bytes(key, b"", "text/plain")


def test_a_folder_that_works_passes_the_probe(tmp_path: Path) -> None:
    open_destination(str(tmp_path / "new" / "folder")).probe()
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_fails_the_probe(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    destination = open_destination(str(tmp_path / "file" / "out"))
    with pytest.raises(Unusable) as caught:
        destination.probe()
    assert caught.value.hint is not None
    with pytest.raises(DestinationFailed):
        destination.put_bytes("a", b"", "text/plain")


def test_one_folder_has_one_canonical_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = (tmp_path / "a b").as_uri()
    for uri in ("./a b", "a b/", str(tmp_path / "a b"), expected, f"{tmp_path}/x/../a b"):
        assert open_destination(uri).describe() == expected


@pytest.mark.parametrize("uri", ["gs://bucket/x", "https://x/y", "s3://", "s3:///x", "file://host/x", "", " "])
def test_other_destinations_are_refused_clearly(uri: str) -> None:
    with pytest.raises(Unusable):
        open_destination(uri)
