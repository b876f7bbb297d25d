"""The spool is bounded, and swept of what a crash left."""

import os
import time
from pathlib import Path

import pytest

from orchestrator.assets.errors import SpoolFailed
from orchestrator.assets.spool import Spool


def test_usage_counts_all_files_and_the_cap_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", cap_bytes=100)
    spool.path("a1").write_bytes(b"x" * 60)
    spool.require_room()
    (tmp_path / "spool" / "a2.0f.part").write_bytes(b"x" * 30)
    assert spool.usage_bytes() == 90
    spool.require_room()
    (tmp_path / "spool" / "a3.0f.part").write_bytes(b"x" * 20)
    with pytest.raises(SpoolFailed, match="110 of at most 100"):
        spool.require_room()
    spool.discard("a1")
    spool.discard("a1")
    assert spool.usage_bytes() == 50


def test_only_stale_parts_are_swept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    day_ago = time.time() - 90_000
    for name, is_old in (("old.part", True), ("new.part", False), ("kept", True)):
        (tmp_path / name).write_bytes(b"x")
        if is_old:
            os.utime(tmp_path / name, (day_ago, day_ago))
    assert spool.sweep() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "new.part"]


@pytest.mark.parametrize("asset_id", ["", "..", "../x", "a/b", "a.part", "a\0"])
def test_an_id_that_is_no_file_name_is_refused(asset_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an asset id"):
        Spool(tmp_path).path(asset_id)


def test_a_spool_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFailed):
        Spool(tmp_path / "file" / "spool")


def test_what_is_kept_is_there_in_full_and_within_the_bounds(tmp_path: Path) -> None:
    spool = Spool(tmp_path, cap_bytes=100)
    spool.keep("a1", b"x" * 60)
    assert spool.path("a1").read_bytes() == b"x" * 60
    spool.keep("a1", spool.path("a1"))
    spool.keep("a2", b"x" * 60)
    with pytest.raises(SpoolFailed, match="120 of at most 100"):
        spool.keep("a3", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1", "a2"]


def test_it_is_known_to_be_roomy_until_something_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, cap_bytes=100)
    assert not spool.is_roomy, "nobody has looked yet"
    spool.require_room()
    assert spool.is_roomy
    spool.keep("a1", b"x" * 60)
    spool.require_room()
    assert not spool.is_roomy


def test_what_nobody_asks_for_any_more_makes_room(tmp_path: Path) -> None:
    """A stop came after the file was whole and before anybody knew its hash; another machine completed its job."""
    spool = Spool(tmp_path, cap_bytes=100, find_unneeded=lambda ids: [found for found in ids if found != "b-2"])
    for name in ("b-1", "b-2"):
        part = spool.open_part(name)
        with part.discarded_unless_committed():
            part.write([b"x" * 60])
            part.commit()
    (tmp_path / "b-3.0f.part").write_bytes(b"x")
    spool.require_room()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b-2", "b-3.0f.part"]
