"""The benchmark of copies runs the engine's own step on a stand-in for the engine, which has to keep up with it."""

import pytest

from benchmarks import copy


@pytest.mark.parametrize("way", ["ours", "by file + proofs"])
def test_a_way_moves_its_files(way: str) -> None:
    with copy.source() as url:
        taken = copy.measure(copy.WAYS[way], url, "folder", "100 kB", 2, 4)
    assert taken.files == 4
    assert taken.cpu_ms > 0
