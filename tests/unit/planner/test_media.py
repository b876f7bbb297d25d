"""Media values: what a text was meant as, and what is sent for it."""

import base64
import hashlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.files import RemoteFault
from orchestrator.planner.media import MediaFault, MediaReader, Medium, read_blob

MEDIA = Path(__file__).resolve().parents[2] / "golden" / "media"
RED = (MEDIA / "red.png").read_bytes()
RED_BASE64 = base64.b64encode(RED).decode()
RED_SHA256 = hashlib.sha256(RED).hexdigest()


def fault_of(text: str, folder: Path = MEDIA) -> Code:
    with pytest.raises(MediaFault) as caught:
        MediaReader(folder).read(text, "image")
    return caught.value.code


def test_an_https_url_is_sent_as_it_is() -> None:
    url = "HTTPS://example.com/a%20b.png?x=1"
    assert MediaReader(MEDIA).read(url, "image") == Medium(url)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:IMAGE/jpeg;name=a.png;base64,"])
def test_embedded_media_are_taken_out_and_can_be_put_back_exactly(prefix: str) -> None:
    reader = MediaReader(MEDIA)
    medium = reader.read(prefix + RED_BASE64, "image")
    assert medium.value == {"$media": RED_SHA256, "prefix": prefix}
    blob = reader.blobs()[RED_SHA256]
    assert (blob.data, blob.path, blob.size_bytes) == (RED, None, len(RED))


def test_base64_that_is_not_in_standard_form_stays_in_the_item() -> None:
    text = "data:image/png;base64," + RED_BASE64[:20] + "\n" + RED_BASE64[20:]
    reader = MediaReader(MEDIA)
    assert reader.read(text, "image").value == text
    assert reader.blobs() == {}


def test_a_file_is_sent_with_its_true_type_and_read_once(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(RED)
    reader = MediaReader(tmp_path)
    medium = reader.read("photo.jpg", "image")
    assert medium.value == {"$media": RED_SHA256, "prefix": "data:image/png;base64,"}
    assert reader.blobs()[RED_SHA256].path == file.resolve()
    file.unlink()
    assert reader.read("photo.jpg", "image") == medium


def test_raw_base64_audio_is_sent_as_a_data_url() -> None:
    sound = (MEDIA / "voice-4s.wav").read_bytes()
    medium = MediaReader(MEDIA).read(base64.b64encode(sound).decode(), "audio")
    assert medium.value == {"$media": hashlib.sha256(sound).hexdigest(), "prefix": "data:audio/wav;base64,"}


def test_audio_has_a_length() -> None:
    medium = MediaReader(MEDIA).read("voice-4s.wav", "audio")
    assert medium.seconds == 4.0
    assert isinstance(medium.value, dict)
    assert medium.value["prefix"] == "data:audio/wav;base64,"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("http://example.com/a.png", Code.INSECURE_MEDIA_URL),
        ("HTTP://example.com/a.png", Code.INSECURE_MEDIA_URL),
        ("https://", Code.BAD_MEDIA_URL),
        ("https:///a.png", Code.BAD_MEDIA_URL),
        ("https://exa mple.com/a.png", Code.BAD_MEDIA_URL),
        (" https://example.com/a.png", Code.BAD_MEDIA_URL),
        ("https://[::1/a.png", Code.BAD_MEDIA_URL),
        ("file:///a.png", Code.BAD_MEDIA_URL),
        ("file:a.png", Code.BAD_MEDIA_URL),
        ("ftp://example.com/a.png", Code.BAD_MEDIA_URL),
        ("data:image/png,abc", Code.BAD_MEDIA_URL),
        ("data:;base64,abc", Code.BAD_MEDIA_URL),
        ("data:audio/mpeg;base64,abcd", Code.BAD_MEDIA_URL),
        ("", Code.BAD_MEDIA_URL),
        ("s3://bucket/a.png", Code.MEDIA_FILE_MISSING),
        ("a.png", Code.MEDIA_FILE_MISSING),
        ("./photos/mug", Code.MEDIA_FILE_MISSING),
        ("photos/product/mug1", Code.MEDIA_FILE_MISSING),
        ("../media", Code.MEDIA_FILE_MISSING),
        ("C:\\photos\\mug.png", Code.MEDIA_FILE_MISSING),
        ("a\0b.png", Code.MEDIA_FILE_MISSING),
        ("words.png", Code.CORRUPT_MEDIA),
        ("cut.png", Code.CORRUPT_MEDIA),
        ("voice-4s.wav", Code.CORRUPT_MEDIA),
        ("data:image/png;base64,", Code.CORRUPT_MEDIA),
        ("data:image/png;base64,%%%", Code.CORRUPT_MEDIA),
        ("data:image/png;base64," + RED_BASE64[:-2], Code.CORRUPT_MEDIA),
        (RED_BASE64[:60], Code.CORRUPT_MEDIA),
        (RED_BASE64.replace("A", "*"), Code.CORRUPT_MEDIA),
        ("bm90IGFuIGltYWdl", Code.CORRUPT_MEDIA),
        ("aGVsbG8=", Code.CORRUPT_MEDIA),
    ],
)
def test_faults(text: str, code: Code) -> None:
    assert fault_of(text) is code


def test_a_picture_too_large_to_decode_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    assert fault_of("bomb.png", tmp_path) is Code.CORRUPT_MEDIA


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_common_format_is_recognised(image_format: str) -> None:
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, image_format)
    text = base64.b64encode(buffer.getvalue()).decode()
    medium = MediaReader(MEDIA).read(text, "image")
    assert isinstance(medium.value, dict)


def photo(path: Path, image_format: str, orientation: object = 6) -> bytes:
    """A photo of 40 x 20 pixels, its left half red, as a camera on its side makes them."""
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, image_format, exif=exif, **({"quality": 98} if image_format == "JPEG" else {}))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("image_format", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/png")]
)
def test_a_photo_on_its_side_is_turned_upright(tmp_path: Path, image_format: str, mime: str) -> None:
    source = hashlib.sha256(photo(tmp_path / "photo", image_format)).hexdigest()
    reader = MediaReader(tmp_path)
    value = reader.read("photo", "image").value
    assert isinstance(value, dict)
    assert (value["prefix"], value["turned_from"]) == (f"data:{mime};base64,", source)
    (blob,) = reader.blobs().values()
    assert (blob.sha256, blob.turned_from, blob.path) == (value["$media"], source, (tmp_path / "photo").resolve())
    data = read_blob(blob)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (blob.size_bytes, blob.sha256)
    with Image.open(BytesIO(data)) as image:
        assert image.size == (20, 40)
        assert image.getexif().get(0x0112, 1) == 1
        red, white = image.convert("RGB").getpixel((10, 5)), image.convert("RGB").getpixel((10, 35))
    assert isinstance(red, tuple)
    assert isinstance(white, tuple)
    assert red[0] > 200 > 60 > red[1]
    assert min(white) > 240
    assert MediaReader(tmp_path).read("photo", "image").value == value


def test_photos_stay_as_they_are_where_nothing_is_to_be_turned(tmp_path: Path) -> None:
    for name, orientation in {"on": 6, "up": 1, "odd": 77}.items():
        photo(tmp_path / name, "JPEG", orientation)
    as_it_is = MediaReader(tmp_path, auto_rotate=False).read("on", "image").value
    assert as_it_is == {
        "$media": hashlib.sha256((tmp_path / "on").read_bytes()).hexdigest(),
        "prefix": "data:image/jpeg;base64,",
    }
    for name in ("up", "odd"):
        value = MediaReader(tmp_path).read(name, "image").value
        assert isinstance(value, dict)
        assert "turned_from" not in value
    embedded = MediaReader(tmp_path).read(base64.b64encode((tmp_path / "on").read_bytes()).decode(), "image").value
    assert isinstance(embedded, dict)
    assert "turned_from" not in embedded


class Shelf:
    """What is on S3, as a folder has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def read(self, uri: str) -> bytes:
        return self.file(uri).read_bytes()

    def file(self, uri: str) -> Path:
        self.asked.append(uri)
        path = self.folder / uri.removeprefix("s3://shelf/")
        if not path.is_file():
            raise RemoteFault("does not exist")
        return path


def test_media_on_s3_are_read_once_and_sent_as_data_urls() -> None:
    shelf = Shelf(MEDIA)
    reader = MediaReader(Path("nowhere"), remote=shelf)
    texts = ["s3://shelf/red.png", "s3://shelf/cut.png", "https://example.com/a.png", "S3://shelf/none.png"]
    reader.read_ahead((text, None) for text in texts)
    assert reader.read("s3://shelf/red.png", "image").value == {
        "$media": RED_SHA256,
        "prefix": "data:image/png;base64,",
    }
    for text, message in [
        ("s3://shelf/cut.png", "`s3://shelf/cut.png` is not a readable image (image file is truncated)"),
        ("S3://shelf/none.png", "`S3://shelf/none.png` does not exist"),
    ]:
        with pytest.raises(MediaFault) as caught:
            reader.read(text, "image")
        assert caught.value.message == message
    assert len(shelf.asked) == 3
    assert reader.blobs()[RED_SHA256].path == MEDIA / "red.png"


def test_paths_of_a_manifest_on_s3_are_beside_it() -> None:
    shelf = Shelf(MEDIA)
    reader = MediaReader(Path("s3://shelf/jobs"), remote=shelf)
    for text in ("../red.png", "./../jobs/../red.png"):
        assert isinstance(reader.read(text, "image").value, dict)
    assert isinstance(reader.read(RED_BASE64, "image").value, dict)
    assert set(shelf.asked) == {"s3://shelf/red.png"}


@pytest.mark.parametrize("orientation", [6, 1])
def test_a_photo_that_changes_after_planning_is_not_kept(tmp_path: Path, orientation: int) -> None:
    photo(tmp_path / "photo.jpg", "JPEG", orientation)
    reader = MediaReader(tmp_path)
    reader.read("photo.jpg", "image")
    (blob,) = reader.blobs().values()
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.jpg")
    with pytest.raises(MediaFault, match="has changed since"):
        read_blob(blob)
    (tmp_path / "photo.jpg").unlink()
    with pytest.raises(MediaFault, match="cannot be read: No such file"):
        read_blob(blob)


@given(st.text(max_size=80), st.sampled_from(["image", "audio"]))
def test_any_text_is_judged(text: str, kind: str) -> None:
    try:
        medium = MediaReader(MEDIA).read(text, "image" if kind == "image" else "audio")
    except MediaFault:
        return
    assert isinstance(medium, Medium)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_picture_are_corrupt(data: bytes) -> None:
    assert fault_of("data:image/png;base64," + base64.b64encode(data).decode()) is Code.CORRUPT_MEDIA
