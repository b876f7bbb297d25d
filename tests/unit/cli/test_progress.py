"""What is seen of a batch while it is worked: on wide and narrow terminals, without colour, and in a log."""

import io
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from orchestrator.base.states import JobState
from orchestrator.cli import progress as progress_module
from orchestrator.cli.progress import Progress
from orchestrator.cli.progress_view import line, panel, short_panel
from orchestrator.cli.words import left_text, seconds_text

HOLD = {
    "code": "in-doubt", "since": "2026-11-22T01:01:00Z", "message": "1 paid request", "at_stake": "14",
    "command": "orchestrator resolve b-1 --job mug --as charged|not-charged",
}  # fmt: skip
PROGRESS = {
    "workers": 1, "senders": 1, "in_flight": 64, "next_poll_seconds": 2.4, "ended_per_minute": 41.2,
    "remaining_seconds": {"least": 12_497, "most": 16_941}, "typical_seconds": {},
    "last_errors": [{"id": "mug-\x1b[7m", "state": "rejected", "code": "moderation", "message": "no " * 40, "at": ""}],
}  # fmt: skip
QUIET: dict[str, Any] = {"down_since": None, "next_probe_at": None, "paused": []}


def batch(
    *, progress: dict[str, Any] | None = None, provider: dict[str, Any] | None = None, holds: Any = (), **counts: int
) -> dict[str, Any]:
    jobs = dict.fromkeys(JobState, 0) | counts
    return {
        "batch": "b-1", "name": "b", "state": "running", "sandbox": False, "created_at": "2026-11-22T01:00:00Z",
        "jobs": {"total": sum(jobs.values()), **jobs},
        "credits": {"estimated": "28", "reserved": "4", "spent": "14", "in_doubt": "0", "lost": "0", "budget": "30"},
        "usdc": None, "holds": list(holds), "unstored": None, "provider": provider or QUIET, "progress": progress,
    }  # fmt: skip


LARGE = batch(progress=PROGRESS, completed=58_800, copying=12, generating=64, pending=39_924, failed=1_200)


def shown(renderable: Any, width: int, *, encoding: str = "utf-8", **how: Any) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, legacy_windows=False, **how)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get().splitlines()


def test_a_panel_of_100000_jobs() -> None:
    lines = shown(panel(LARGE, "1:23", shown={"submitting"}), 100)
    assert [text.rstrip() for text in lines] == [
        "b-1 · running · 1:23",
        "completed   58,800 ███████████████████████████████████▍",
        "copying         12 ▏",
        "generating      64 ▏",
        "submitting       0",
        "pending     39,924 ████████████████████████",
        "failed       1,200 ▊",
        "60,000/100,000 done · 41 jobs/min · 3 h 20 min to 4 h 40 min left · 64 in flight · next poll in 3 s",
        "spent 14 · reserved 4 · budget 30 credits",
        "budget " + "█" * 36 + " 60%",
        ("mug-\\x1b[7m rejected [moderation]: " + "no " * 40)[:99] + "…",
    ]


@pytest.mark.parametrize("width", [20, 40, 100, 250])
def test_a_panel_keeps_to_the_width(width: int) -> None:
    document = LARGE | {"holds": [HOLD]}
    for renderable in (panel(document, "1:23"), short_panel(document, "1:23")):
        assert max(map(len, shown(renderable, width))) <= width


def test_few_jobs_and_no_colour_and_no_blocks() -> None:
    document = batch(completed=9, pending=1)
    assert shown(panel(document, "0:01"), 40, encoding="ascii")[1:3] == [
        "completed  9 " + "#" * 25,
        "pending    1 ###",
    ]
    colourless = "\n".join(shown(panel(document, "0:01"), 80, force_terminal=True, no_color=True))
    assert "\x1b[3" not in colourless
    assert "completed" in colourless


def test_what_needs_a_person_comes_first() -> None:
    lines = shown(panel(batch(holds=[HOLD], in_doubt=1), "0:01"), 120)
    assert lines[1] == "held [in-doubt]: 1 paid request"
    assert lines[2].startswith("  since 2026-11-22 01:01 UTC (")
    assert lines[2].endswith(") · 14 credits at stake")
    assert lines[3] == "  next: orchestrator resolve b-1 --job mug --as charged|not-charged"


def test_what_is_in_the_way_is_told() -> None:
    paused = [{"model": None, "until": "2026-11-22T01:02:00Z"}, {"model": "gen", "until": "2026-11-22T01:03:00Z"}]
    provider = {"down_since": "2026-11-22T01:01:00Z", "next_probe_at": "2999-11-22T01:01:30Z", "paused": paused}
    text = "\n".join(shown(panel(batch(provider=provider, progress=PROGRESS | {"workers": 0}, pending=1), "0:01"), 160))
    assert "the provider is taken for down since 2026-11-22 01:01 UTC (" in text
    assert "tried again at 2999-11-22T01:01:30Z" in text
    missed = provider | {"next_probe_at": "2026-11-22T01:01:30Z"}  # nobody was there to look again
    assert "again" not in "\n".join(shown(panel(batch(provider=missed, pending=1), "0:01"), 160))
    assert "wants the whole account to wait: nothing of it is sent until 2026-11-22T01:02:00Z" in text
    assert "wants gen to wait" in text
    assert "no worker is alive; next: orchestrator worker" in text
    assert "poll" not in text  # nobody polls


def test_that_nobody_has_the_keys_is_told_while_something_is_to_be_sent() -> None:
    keyless = PROGRESS | {"senders": 0}
    text = "\n".join(shown(panel(batch(progress=keyless, pending=1), "0:01"), 160))
    assert "no living worker has the keys of its account; next: orchestrator worker, with those keys" in text
    assert "keys" not in line(batch(progress=keyless, copying=1)).plain
    sandbox = batch(progress=keyless, copying=1) | {"sandbox": True}
    assert "keys of its account; next: orchestrator resume b-1" in "\n".join(shown(panel(sandbox, "0:01"), 160))


def test_time_goes_on_between_two_documents() -> None:
    near = PROGRESS | {"remaining_seconds": {"least": 100, "most": 110}, "next_poll_seconds": 9.0}
    text = "\n".join(shown(panel(batch(progress=near, generating=1), "0:01", age_seconds=5), 120))
    assert "90 s to 110 s left" in text
    assert "next poll in 4 s" in text
    assert "less than 10 s left" in "\n".join(shown(panel(batch(progress=near, generating=1), "", age_seconds=500), 90))


def test_a_line_for_a_log() -> None:
    assert line(LARGE).plain == (
        "b-1: 39924 pending · 64 generating · 12 copying · 58800 completed · 1200 failed; "
        "41 jobs/min, 3 h 20 min to 4 h 40 min left; spent 14 · reserved 4 · budget 30 credits"
    )
    assert line(batch(pending=2)).plain == "b-1: 2 pending; spent 14 · reserved 4 · budget 30 credits"


def test_a_line_for_a_log_says_what_is_in_the_way() -> None:
    provider = QUIET | {"down_since": "2026-11-22T01:01:00Z"}
    stands = batch(provider=provider, progress=PROGRESS | {"workers": 0, "remaining_seconds": None}, copying=2)
    stands |= {"holds": [HOLD | {"blocking": True}], "unstored": {"jobs": 2, "error": "no room"}}
    assert (
        "; held [in-doubt]; 2 not stored: no room; the provider is taken for down; no worker is alive; spent"
        in line(stands).plain
    )


def test_lines_come_now_and_then_and_only_with_news(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = [0.0]
    monkeypatch.setattr(progress_module, "tell", lambda *lines: said.extend(line.plain for line in lines))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress(quiet=False)
    for seconds, pending in ((0, 3), (1, 2), (6, 2), (12, 2), (18, 1)):
        now[0] = float(seconds)
        progress(batch(pending=pending, progress=PROGRESS | {"ended_per_minute": float(seconds)}))
    assert [text.split(" pending")[0] for text in said] == ["b-1: 3", "b-1: 2", "b-1: 1"]
    now[0] = 24.0
    progress(batch(pending=1, progress=PROGRESS | {"workers": 0}))
    assert "no worker is alive" in said[-1], "that is news, too"


def test_a_terminal_that_becomes_narrower_is_painted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, legacy_windows=False)
    monkeypatch.setattr(progress_module, "err", lambda: console)
    with Progress(quiet=False) as progress:
        progress(LARGE)
        live = progress._live
        assert live is not None
        for width, is_cleared in ((100, False), (60, True), (60, False), (120, False)):
            console.width = width
            file.truncate(0)
            live.refresh()
            assert ("\x1b[2J" in file.getvalue()) is is_cleared


def test_a_frame_is_one_write_that_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    file = io.StringIO()
    monkeypatch.setattr(file, "write", writes.append)
    console = Console(file=file, width=100, force_terminal=True, legacy_windows=False)
    with progress_module._Display(console=console, get_renderable=lambda: panel(LARGE, ""), auto_refresh=False) as live:
        live.refresh()
        console.width = 60
        writes.clear()
        live.refresh()
        [frame] = writes
    assert frame.startswith("\x1b[2J\x1b[H\x1b[?2026h")
    assert frame.endswith("\x1b[?2026l")


def test_the_clock_is_the_batchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not since somebody looks, nor since a question was asked that took its time."""
    console = Console(file=io.StringIO(), width=100, force_terminal=True, legacy_windows=False)
    monkeypatch.setattr(progress_module, "err", lambda: console)
    began = datetime.now(UTC) - timedelta(hours=2, minutes=3, seconds=4.5)
    for skewed, clock in ((began, "2:03:04"), (datetime.now(UTC) + timedelta(minutes=1), "0:00")):
        with Progress(quiet=False) as progress:
            progress(LARGE | {"created_at": skewed.isoformat()})
            assert shown(progress._display(), 100)[0].rstrip() == f"b-1 · running · {clock}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"), (60, "1 min"), (90, "90 s"), (150, "2 min"), (3_600, "60 min"), (7_200, "2 h"),
        (12_497, "3 h 20 min"), (172_800, "2 d"), (190_000, "2 d 4 h"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_what_is_left() -> None:
    assert left_text(0, 0) == "less than 10 s left"
    assert left_text(0, 95) == "less than 100 s left"
    assert left_text(80, 230) == "1 min to 4 min left"
    assert left_text(301, 360) == "5 min to 6 min left"
    assert left_text(12_100, 12_400) == "about 3 h 20 min left"
