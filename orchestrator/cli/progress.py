"""How batches are getting on, while they are worked: a live display on a terminal, else a line now and then."""

import time
from math import inf
from types import TracebackType
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from orchestrator.base.money import unit_word
from orchestrator.cli.console import err, printable, tell
from orchestrator.cli.words import elapsed, money, state_counts

_LINE_SECONDS = 5.0
_LIVE_SECONDS = 0.5
_DONE = ("completed", "failed", "rejected", "in_doubt", "cancelled", "skipped")


class Progress:
    """Call it with a batch's document whenever there is a newer one; a context manager. Silent when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began = time.monotonic()
        self._documents: dict[str, dict[str, Any]] = {}
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
            tell(*(_line(document) for document in self._documents.values()))

    @property
    def seconds(self) -> float:
        """How far apart documents have to be for each to be shown; infinite: none is."""
        if self._quiet:
            return inf
        return _LIVE_SECONDS if _is_live() else _LINE_SECONDS

    def __call__(self, document: dict[str, Any], /) -> None:
        self._documents[document["batch"]] = document
        if self._quiet or self._live is not None:
            return
        if _is_live():
            self._live = Live(console=err(), get_renderable=self._display, refresh_per_second=4, transient=True)
            self._live.start()
        else:
            self._tell_line(document)

    def _tell_line(self, document: dict[str, Any]) -> None:
        said_at, said = self._lines.get(document["batch"], (-_LINE_SECONDS, ""))
        line, now = _line(document), time.monotonic()
        if line.plain != said and now - said_at >= _LINE_SECONDS:
            self._lines[document["batch"]] = now, line.plain
            tell(line)

    def _display(self) -> RenderableType:
        clock = elapsed(time.monotonic() - self._began)
        return Group(*(_panel(document, clock) for document in self._documents.values()))


def _is_live() -> bool:
    return err().is_terminal and not err().is_dumb_terminal


def _line(document: dict[str, Any]) -> Text:
    return Text(f"{printable(document['batch'])}: {state_counts(document)}; {_money(document)}")


def _panel(document: dict[str, Any], clock: str) -> RenderableType:
    total = document["jobs"]["total"]
    done = sum(document["jobs"][state] for state in _DONE)
    mark = (" · sandbox", "yellow") if document["sandbox"] else ""
    return Group(
        Text.assemble((printable(document["batch"]), "bold"), mark, f" · {document['state']} · {clock}"),
        ProgressBar(total=total, completed=done, width=48),
        Text(f"{done}/{total} · {state_counts(document)}"),
        Text(_money(document), style="dim"),
        *(Text(f"held: {printable(hold['message'])}", style="yellow") for hold in document["holds"]),
    )


def _money(document: dict[str, Any]) -> str:
    amounts, unit = money(document)
    parts = [f"spent {amounts['spent']}", f"reserved {amounts['reserved']}"]
    if amounts["in_doubt"] != "0":
        parts.append(f"in doubt {amounts['in_doubt']}")
    parts.append(f"budget {amounts['budget']}" if amounts["budget"] else f"estimated {amounts['estimated']}")
    return " · ".join(parts) + (" sandbox " if document["sandbox"] else " ") + unit_word(unit)
