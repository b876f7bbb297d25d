"""Whole files pass with their true type; anything cut short, mislabelled or foreign does not."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import orchestrator.assets.pictures
from orchestrator.assets.errors import CorruptAsset
from orchestrator.assets.memory import CopyMemory
from orchestrator.assets.verify import Kind, Verified
from orchestrator.assets.verify import verify as verify_within

verify = partial(verify_within, memory=CopyMemory())

Sample = Callable[[str], bytes]

WHOLE: dict[str, tuple[Kind, Verified]] = {
    "png": ("image", Verified("image/png", ".png", 48, 36, None)),
    "jpeg": ("image", Verified("image/jpeg", ".jpg", 48, 36, None)),
    "jpeg-progressive": ("image", Verified("image/jpeg", ".jpg", 48, 36, None)),
    "webp": ("image", Verified("image/webp", ".webp", 48, 36, None)),
    "webp-animated": ("image", Verified("image/webp", ".webp", 48, 36, None)),
    "gif": ("image", Verified("image/gif", ".gif", 48, 36, None)),
    "gif-animated": ("image", Verified("image/gif", ".gif", 48, 36, None)),
    "avif": ("image", Verified("image/avif", ".avif", 48, 36, None)),
    "mp4-moov-at-end": ("video", Verified("video/mp4", ".mp4", 64, 48, 1.0)),
    "mp4-moov-at-front": ("video", Verified("video/mp4", ".mp4", 64, 48, 1.0)),
    "mov": ("video", Verified("video/quicktime", ".mov", 64, 48, 1.0)),
    "webm": ("video", Verified("video/webm", ".webm", 64, 48, 1.0)),
    "webm-live": ("video", Verified("video/webm", ".webm", 64, 48, 1.0)),
}


def write(folder: Path, data: bytes) -> Path:
    path = folder / "asset"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_what_its_bytes_say(name: str, tmp_path: Path, sample: Sample) -> None:
    kind, expected = WHOLE[name]
    assert verify(write(tmp_path, sample(name)), kind, None) == expected
    assert verify(sample(name), kind, None) == expected


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_short_anywhere_is_found(name: str, tmp_path: Path, sample: Sample) -> None:
    kind, _ = WHOLE[name]
    data = sample(name)
    last_bytes = range(len(data) - 40, len(data))
    for length in [*range(0, len(data) - 40, max(1, len(data) // 500)), *last_bytes]:
        with pytest.raises(CorruptAsset):
            verify(data[:length], kind, None)
    for length in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptAsset):
            verify(write(tmp_path, data[:length]), kind, None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><title>Not here</title>", "something else"),
        (b'{"error": "expired"}', "something else"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "something else"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "something else"),
        (b"\x00" * 4096, "something else"),
    ],
)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_is_no_asset_at_all_is_refused(kind: Kind, data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptAsset, match=reason):
        verify(write(tmp_path, data), kind, None)


def test_the_other_kind_is_refused(tmp_path: Path, sample: Sample) -> None:
    with pytest.raises(CorruptAsset, match="image/png, not video"):
        verify(write(tmp_path, sample("png")), "video", None)
    with pytest.raises(CorruptAsset, match="video/mp4, not image"):
        verify(write(tmp_path, sample("mp4-moov-at-end")), "image", None)


@pytest.mark.parametrize("declared", [None, "", "image/webp", "IMAGE/PNG; q=1", "application/octet-stream"])
def test_a_declared_subtype_gives_way_to_the_true_one(declared: str | None, tmp_path: Path, sample: Sample) -> None:
    assert verify(write(tmp_path, sample("png")), "image", declared).mime_type == "image/png"


@pytest.mark.parametrize("declared", ["video/mp4", "text/html", "application/json"])
def test_a_declared_type_of_another_kind_is_refused(declared: str, tmp_path: Path, sample: Sample) -> None:
    with pytest.raises(CorruptAsset, match="declared"):
        verify(write(tmp_path, sample("png")), "image", declared)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path, sample: Sample) -> None:
    data = bytearray(sample("png"))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(CorruptAsset, match="checksum"):
        verify(write(tmp_path, bytes(data)), "image", None)


def test_a_picture_too_large_to_decode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample
) -> None:
    monkeypatch.setattr(orchestrator.assets.pictures, "MAX_FRAME_PIXELS", 48 * 36 - 1)
    with pytest.raises(CorruptAsset, match="48 x 36"):
        verify(write(tmp_path, sample("png")), "image", None)


def test_a_video_of_sound_alone_is_refused(tmp_path: Path, sample: Sample) -> None:
    with pytest.raises(CorruptAsset, match="no video stream"):
        verify(write(tmp_path, sample("sound")), "video", None)


def test_a_video_whose_packets_are_blank_is_refused(tmp_path: Path, sample: Sample) -> None:
    data = sample("mp4-moov-at-end")
    start, moov = data.index(b"mdat") + 4, data.index(b"moov") - 4
    with pytest.raises(CorruptAsset, match="key frame"):
        verify(write(tmp_path, data[:start] + bytes(moov - start) + data[moov:]), "video", None)


def test_a_file_that_cannot_be_read_is_no_corrupt_asset(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "absent", "image", None)
