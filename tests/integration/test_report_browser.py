"""The report's page in a real browser: from a file and from S3, wide and narrow, light and dark, by keyboard alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.operations.reporting import report
from orchestrator.operations.reviewing import apply_review
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.report.document import PageJob, ShownFile, by_model, page_document
from orchestrator.report.page import Head, render
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .browser import chromium
from .engine_site import Site, make_site

pytestmark = pytest.mark.browser

HOSTILE = "A mug</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> {{ 7 * 7 }} \u2028"
PICTURE = {"model": "gpt-image-2", "aspect_ratio": "1:1"}
CLIP = {"model": "seedance-2-0", "duration_seconds": 5, "aspect_ratio": "16:9", "prompt": "A slow turn"}
JOBS = [
    PICTURE | {"id": "mug", "prompt": HOSTILE, "labels": {"<b>": '"x"'}},
    PICTURE | {"id": "cup", "prompt": "A cup"},
    PICTURE | {"id": "cup-wide", "prompt": "A cup", "aspect_ratio": "3:2"},
    PICTURE | {"id": "bad", "prompt": "[sandbox:moderation]"},
    CLIP | {"id": "spin"},
]
LOADED = "() => [...document.images].length > 0 && [...document.images].every(i => i.complete && i.naturalWidth > 0)"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as running:
        yield running


def submitted(site: Site) -> str:
    """The id of a batch of pictures, a clip and a failure."""
    file = site.folder / "things.json"
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": JOBS}))
    return str(submit(file, site.settings, SubmitOptions(), confirm=lambda _: True)["batch"])


def opened(browser: Any, url: str, told: list[str], **options: Any) -> Any:
    """The page in a window of its own; whatever it complains of, and any dialog, goes to `told`."""
    page = browser.new_context(**options).new_page()
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(f"dialog {dialog.message}"))
    page.goto(url)
    page.wait_for_function(LOADED)
    return page


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def decided(page: Any) -> dict[str, str]:
    """What the cards say was decided."""
    found = page.evaluate(
        "() => [...document.querySelectorAll('article')].map(a => [a.querySelector('h2').textContent, "
        "a.querySelector('.decided').textContent])"
    )
    return {name: words for name, words in found if words}


def test_decided_by_keyboard_alone_and_carried_out(
    sandbox: Sandbox, tmp_path: Path, database: Database, database_url: str
) -> None:
    site = make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))
    batch, told = submitted(site), list[str]()
    made = report(batch, site.settings, str(tmp_path / "out" / "page.html"))
    assert (made["jobs"], made["files"], made["thumbnails"], made["missing"]) == (5, 4, 4, 0)
    (tmp_path / "out").rename(tmp_path / "moved")  # as someone would who sends the folder to a colleague
    url = (tmp_path / "moved" / "page.html").as_uri()
    with chromium() as browser:  # its loop runs in this thread: nothing of ours until it has ended
        page = opened(browser, url, told, viewport={"width": 1400, "height": 900}, accept_downloads=True)
        press(page, "a", "r")
        page.keyboard.type("too dark")
        press(page, "Enter", "t", "t", "u", "u", "j")  # `cup-wide` is asked for, and taken back
        press(page, "r")  # `bad` has nothing to reject: the note that follows is no command
        assert page.text_content("#refused-why") == "bad is failed: there is nothing to reject."
        page.keyboard.type("a lid at ease")
        press(page, "Enter", "t")
        assert decided(page) == {"mug": "Accepted", "cup": "Rejected: too dark", "bad": "Another take"}
        press(page, " ")
        page.wait_for_function("() => document.querySelector('article video')?.readyState >= 2")
        page.reload()
        assert len(decided(page)) == 3
        with page.expect_download() as download:
            press(page, "e")
        assert download.value.suggested_filename == "decisions.json"
        download.value.save_as(tmp_path / "decisions.json")
    assert told == []
    (tmp_path / "moved").rename(tmp_path / "out")
    document = apply_review(tmp_path / "decisions.json", site.settings, confirm=lambda _: True)
    assert document["decisions"] == {"accepted": 1, "rejected": 1, "takes": 1, "unchanged": 0}
    assert [each["jobs"]["failed"] for each in document["take_batches"]] == [1]


def test_from_s3_it_works_wide_and_narrow_light_and_dark(
    sandbox: Sandbox, tmp_path: Path, database: Database, database_url: str, bucket: str
) -> None:
    site = make_site(tmp_path, sandbox, database, database_url, destination=f"s3://{bucket}/out")
    batch, told = submitted(site), list[str]()
    made = report(batch, site.settings, f"s3://{bucket}/reports/things.html", link_seconds=3600)
    assert (made["page"], made["thumbnails"]) == (f"s3://{bucket}/reports/things.html", 4)
    assert made["links_end_at"] is not None
    grounds = {"light": "rgb(246, 246, 244)", "dark": "rgb(23, 24, 26)"}
    with chromium() as browser:
        for width, scheme in ((1400, "dark"), (390, "light")):
            page = opened(browser, made["link"], told, viewport={"width": width, "height": 844}, color_scheme=scheme)
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == grounds[scheme]
            signed = page.evaluate("() => [...document.images].every(i => i.src.includes('X-Amz-Signature='))")
            assert signed
            press(page, "/")
            page.keyboard.type("a cup")
            press(page, "Enter", "g", "ArrowRight")
            assert page.text_content("#count") == "2 of 5 jobs"
            assert page.text_content(".group h2") == "A cup (2)"
            assert page.evaluate("() => document.activeElement.querySelector('h2').textContent") == "cup-wide"
            press(page, "Enter")
            page.wait_for_function("() => document.querySelector('#detail img').naturalWidth > 0")
            press(page, "ArrowRight", "ArrowLeft")  # there is none behind the last one
            assert page.text_content("#detail-title") == "cup"
            press(page, "j", "a")
            assert decided(page) == {"cup-wide": "Accepted"}
    assert told == []


#: Cards that are laid out, and pictures that have come.
LAID_OUT = (
    "() => [...document.querySelectorAll('article')].filter(a => a.checkVisibility({contentVisibilityAuto: true}))"
    ".map(a => a.querySelector('h2').textContent)"
)
LOADED_PICTURES = "() => [...document.images].filter(image => image.naturalWidth > 0).map(image => image.alt)"
WINDOW = {"width": 1400, "height": 900}


def large_page(folder: Path, jobs: int) -> str:
    """The URL of a page of so many jobs, ten of each variant. One file is the picture of all, by different links."""
    Image.new("RGB", (480, 360), "teal").save(folder / "small.webp")
    amounts = {"estimated": "3", "spent": "3"}
    document: dict[str, Any] = {"model": "gen", "state": "completed", "labels": {}, "error": None, "review": None}
    document |= {"usdc": None, "reused_from": None, "request_id": None, "attempts": 1, "credits": amounts}
    shown = [
        PageJob(
            document | {"id": f"job-{n}"},
            {"prompt": f"job-{n}"},
            {"product": str(n // 10)},
            2.0,
            None,
            [ShownFile("image", f"{n:064x}", "./small.webp", "image/webp", "", f"./small.webp?{n}")],
        )
        for n in range(jobs)
    ]
    head = Head("things", "things-1", [], [], "credits", by_model(shown))
    (folder / "page.html").write_bytes(render(head, page_document("things-1", shown), ["./small.webp"]))
    return (folder / "page.html").as_uri()


def test_of_thousands_of_jobs_only_those_near_the_window_are_laid_out_and_loaded(tmp_path: Path) -> None:
    told = list[str]()
    with chromium() as browser:
        page = browser.new_context(viewport=WINDOW).new_page()
        page.on("console", lambda message: told.append(message.text))
        page.goto(large_page(tmp_path, 5000))
        assert page.text_content("#count") == "5000 jobs"
        for key, near in (("Home", "job-0"), ("End", "job-4999"), ("g", "job-4999")):
            press(page, key)
            page.wait_for_function(f"() => ({LOADED_PICTURES})().includes('{near}')")
            laid_out, loaded = set(page.evaluate(LAID_OUT)), set(page.evaluate(LOADED_PICTURES))
            assert near in laid_out
            assert len(laid_out) < 200, key
            assert "job-2500" not in loaded
            assert len(loaded) < 400, "of both ends, and of what lies a little beyond the window"
    assert told == []
