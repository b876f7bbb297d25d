"""The page: hostile words stay words, links and origins are as they should be, variants stand together."""

import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator.report.document import PageJob, ShownFile, by_model, page_document, seconds_text
from orchestrator.report.page import Head, render, script_json
from orchestrator.report.thumbnails import LONGEST_SIDE_PIXELS, thumbnail
from orchestrator.report.variants import Subject, variants, words_of

SHA = "ab" * 32


def shown(name: str = "mug", item: dict[str, Any] | None = None, row: Any = None, **changes: Any) -> PageJob:
    """A completed job with one picture."""
    document = {
        "id": name,
        "model": "gen",
        "state": "completed",
        "labels": {},
        "error": None,
        "review": None,
        "reused_from": None,
        "request_id": None,
        "attempts": 1,
        "credits": {"estimated": "3", "spent": "3"},
        "usdc": None,
    }
    file = ShownFile("image", SHA, "./mug.png", "image/png", "", "./page_files/mug.webp")
    return PageJob(document | changes, item or {"prompt": "A mug"}, row, 2.0, None, [file])


def head(**changes: Any) -> Head:
    fields: dict[str, Any] = {"name": "things", "batch": "things-1", "facts": [], "warnings": [], "unit": "credits"}
    return Head(**fields | {"by_model": by_model([])} | changes)


class _Elements(HTMLParser):
    """What a browser would make of the page: its elements, and what the script elements hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.scripts and self.lasttag == "script":
            self.scripts[-1] += data


_PLAIN = _Elements(render(head(), page_document("things-1", [shown()]), []).decode())
_HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(
        [
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "]]>",
            "{{ 7 * 7 }}",
            "\u2028",
            "\ud800",
            "'\"><img src=x>",
        ]
    ),
)


@given(words=_HOSTILE, name=_HOSTILE)
@settings(max_examples=60, deadline=None)
def test_no_words_become_elements(words: str, name: str) -> None:
    error = {"code": "moderation", "message": words, "provider": words}
    job = shown(name, {"prompt": words, words: words}, {words: words}, labels={words: words}, error=error, model=words)
    document = page_document(words, [job])
    page = render(head(name=words, facts=[words], warnings=[], by_model=by_model([job])), document, []).decode()
    found = _Elements(page)
    extra = ["span", "tr", "th", "td", "td", "td", "meter"]
    assert sorted(found.tags) == sorted([*_PLAIN.tags, *extra])
    assert json.loads(found.scripts[0]) == json.loads(json.dumps(document))


_VALUES = st.recursive(
    _HOSTILE | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_HOSTILE, inner, max_size=3),
    max_leaves=4,
)


@given(value=_VALUES)
@settings(max_examples=50, deadline=None)
def test_json_in_a_script_is_the_same_json(value: Any) -> None:
    text = script_json(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_the_policy_names_what_is_shown_and_nothing_else() -> None:
    links = ["https://media.test/a.png?X=1", "https://media.test/b.png", "./c.webp", "file:///d.png"]
    page = render(head(), page_document("things-1", [shown()]), links).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = policy[1].replace("&#39;", "'").split("; ")
    assert rules[0] == "default-src 'none'"
    assert "img-src 'self' file: https://media.test data:" in rules
    assert "media-src 'self' file: https://media.test" in rules
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)


def test_variants_stand_together() -> None:
    row = {"sku": "mug", "name": "Mug", "size": "", "colour": "blue"}
    subjects = [
        Subject("gen", {"prompt": "A mug", "aspect_ratio": "1:1"}, row),
        Subject("gpt-image-2", {"prompt": "A mug", "aspect_ratio": "9:16"}, row),
        Subject("gen", {"prompt": "A cup", "aspect_ratio": "1:1", "output_format": "png"}, None),
        Subject("gen", {"prompt": "A cup", "aspect_ratio": "9:16", "output_format": "png"}, None),
        Subject("gen", {"prompt": "A pot", "aspect_ratio": "9:16"}, None),
    ]
    assert variants(subjects) == (
        ["mug · Mug · blue", "A cup", "A pot"],
        [0, 0, 1, 1, 2],
        ["gen · 1:1", "gpt-image-2 · 9:16", "1:1", "9:16", ""],
    )
    asked = {"messages": [{"content": "x"}, {"content": [{"type": "text", "text": "Describe"}, {"type": "image_url"}]}]}
    assert words_of(asked) == "Describe"
    assert words_of({}) == ""


def test_costs_are_added_by_model() -> None:
    dear: dict[str, Any] = {"credits": {"estimated": "200", "spent": "200"}, "model": "seedance-2-0"}
    rows = by_model([shown(), shown("cup"), shown("spin", **dear)])
    assert [(row["model"], row["jobs"], row["spent"], row["share"]) for row in rows] == [
        ("seedance-2-0", 1, "200", "1.0000"),
        ("gen", 2, "6", "0.0300"),
    ]
    waiting: dict[str, Any] = {"state": "generating", "credits": {"estimated": "3", "spent": None}}
    cards = page_document("things-1", [shown(), shown("cup", **waiting), shown("pot", reused_from="x")])["cards"]
    assert [card["cost"] for card in cards] == ["3 credits", "about 3 credits", "reused"]
    assert [seconds_text(each) for each in (None, 0.44, 38.2, 125)] == ["", "0.4 s", "38 s", "2 min 5 s"]


def test_thumbnails_are_small_webp_files() -> None:
    target = io.BytesIO()
    Image.new("RGBA", (1200, 300), (255, 0, 0, 128)).save(target, "PNG")
    small = thumbnail(io.BytesIO(target.getvalue()), "image")
    assert small is not None
    with Image.open(io.BytesIO(small)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (LONGEST_SIDE_PIXELS, 120))
    assert thumbnail(io.BytesIO(target.getvalue()), "image", at_least_pixels=1201) is None
    assert thumbnail(io.BytesIO(b"#EXTM3U\nfile:///etc/passwd"), "video") is None
    assert thumbnail(io.BytesIO(b"<svg/>"), "image") is None


class Counted(io.FileIO):
    """A file that knows how much of it was read."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.read_bytes += len(data)
        return data


def test_a_clip_is_shown_by_its_first_frame_and_not_read_to_its_end(tmp_path: Path) -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(3):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), "blue"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    more_bytes = 256 * 1024**2
    (tmp_path / "clip.mp4").write_bytes(target.getvalue() + more_bytes.to_bytes(4, "big") + b"free")
    os.truncate(tmp_path / "clip.mp4", len(target.getvalue()) + more_bytes)
    with Counted(tmp_path / "clip.mp4") as file:
        small = thumbnail(file, "video")
        assert file.read_bytes < 1024**2
    assert small is not None
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.size == (64, 48)
