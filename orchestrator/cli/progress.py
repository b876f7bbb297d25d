"""How batches are getting on, while they are worked: a live display on a terminal, else a line now and then."""

import time
from math import inf
from types import TracebackType
from typing import Any, Self

from rich.console import ConsoleRenderable, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments

from orchestrator.base.states import JobState
from orchestrator.cli.console import err, tell
from orchestrator.cli.progress_view import line, line_troubles, panel, short_panel
from orchestrator.cli.words import elapsed_since

_LINE_SECONDS = 5.0
_LIVE_SECONDS = 0.5


def _mode(codes: str) -> Segments:
    return Segments([Segment(codes, None, [(ControlType.CARRIAGE_RETURN,)])])


#: A terminal that knows synchronized output (DEC private mode 2026) shows what is between them at once; others skip it.
_BEGIN_FRAME, _END_FRAME = _mode("\x1b[?2026h"), _mode("\x1b[?2026l")


class Progress:
    """Call it with a batch's document whenever there is a newer one; a context manager. Silent when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._documents: dict[str, tuple[float, dict[str, Any]]] = {}
        self._shown: set[str] = set()
        self._lines: dict[str, tuple[float, str]] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if error is not None and not self._quiet:
            tell(*(line(document) for _, document in self._documents.values()))

    @property
    def seconds(self) -> float:
        """How far apart documents have to be for each to be shown; infinite: none is."""
        if self._quiet:
            return inf
        return _LIVE_SECONDS if is_live() else _LINE_SECONDS

    def __call__(self, document: dict[str, Any], /) -> None:
        self._documents[document["batch"]] = time.monotonic(), document
        self._shown |= {state for state in JobState if document["jobs"][state]}
        if self._quiet or self._live is not None:
            return
        if is_live():
            self._live = _Display(console=err(), get_renderable=self._display, refresh_per_second=4, transient=True)
            self._live.start()
        else:
            self._tell_line(document)

    def _tell_line(self, document: dict[str, Any]) -> None:
        """Nothing while nothing changes but the time that is left."""
        said_at, said = self._lines.get(document["batch"], (-inf, ""))
        changes = document["jobs"] | document["credits"] | (document["usdc"] or {})
        news, now = f"{changes} {line_troubles(document)}", time.monotonic()
        if news != said and now - said_at >= _LINE_SECONDS:
            self._lines[document["batch"]] = now, news
            tell(line(document))

    def _display(self) -> RenderableType:
        now = time.monotonic()
        documents = [
            (document, elapsed_since(document["created_at"]), now - read_at)
            for read_at, document in list(self._documents.values())
        ]
        if len(documents) == 1:
            [(document, clock, age)] = documents
            return panel(document, clock, age_seconds=age, shown=self._shown)
        return Group(*(short_panel(document, clock, age_seconds=age) for document, clock, age in documents))


class _Display(Live):
    """A live display that does not flicker, and stays whole when the terminal becomes narrower, and breaks what it
    showed into more lines.
    """

    _columns = 0

    def refresh(self) -> None:
        columns = self.console.width
        with self.console:  # all of it in one write
            if columns < self._columns:
                self.console.control(Control((ControlType.CLEAR,), (ControlType.HOME,)))
            super().refresh()
        self._columns = columns

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What is erased and written anew is never seen half done."""
        return [_BEGIN_FRAME, *super().process_renderables(renderables), _END_FRAME]


def is_live() -> bool:
    """Whether stderr is a terminal that can show what moves."""
    return err().is_terminal and not err().is_dumb_terminal
