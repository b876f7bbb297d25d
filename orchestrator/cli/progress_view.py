"""What is shown of a batch while it is worked: a panel on a terminal, a line elsewhere."""

from collections.abc import Collection
from math import ceil
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from orchestrator.base.money import unit_word
from orchestrator.base.states import JobState
from orchestrator.cli.batch_view import STATE_COLOURS, needs
from orchestrator.cli.console import printable
from orchestrator.cli.pace import in_flight, left, missing_worker, rate, troubles
from orchestrator.cli.words import money, state_counts

#: From what is done to what is not begun, and then what went wrong.
_ORDER = (
    JobState.COMPLETED, JobState.COPYING, JobState.GENERATING, JobState.SUBMITTING, JobState.PENDING, JobState.WAITING,
    JobState.IN_DOUBT, JobState.FAILED, JobState.REJECTED, JobState.SKIPPED, JobState.CANCELLED,
)  # fmt: skip
_OVER = ("completed", "failed", "rejected", "in_doubt", "cancelled", "skipped")
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LONGEST_BAR = 60


class Bar:
    """A share of a whole, as wide as there is room; whatever is not nothing can be seen."""

    def __init__(self, head: str, count: float, total: float, *, style: str = "", tail: str = "") -> None:
        self._head, self._tail = head, tail
        self._share = min(count / total, 1.0) if total else 0.0
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = min(options.max_width - len(self._head) - len(self._tail), _LONGEST_BAR)
        yield Text.assemble(
            self._head,
            (_blocks(self._share, room, ascii_only=options.ascii_only), self._style),
            self._tail,
            no_wrap=True,
            overflow="ellipsis",
        )


def _blocks(share: float, width: int, *, ascii_only: bool) -> str:
    eighths = ceil(share * max(width, 0) * 8)
    if ascii_only:
        return "#" * ceil(eighths / 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def panel(
    document: dict[str, Any], clock: str, *, age_seconds: float = 0.0, shown: Collection[str] = ()
) -> RenderableType:
    """All about one batch. `shown` are states that keep their bar at zero, so that the others stay where they are;
    `age_seconds` is how long ago the document was read.
    """
    return Group(
        _headline(document, clock),
        *needs(document),
        *_bars(document, shown),
        _pace(document, age_seconds),
        *_money_lines(document),
        *troubles(document),
        *_last_errors(document),
    )


def short_panel(document: dict[str, Any], clock: str, *, age_seconds: float = 0.0) -> RenderableType:
    """One of several batches, in a few lines."""
    done, total = _done(document), document["jobs"]["total"]
    return Group(
        _headline(document, clock),
        *needs(document),
        Bar("", done, total, style="green", tail=f" {done:,}/{total:,}"),
        _row(state_counts(document)),
        _pace(document, age_seconds),
    )


def line(document: dict[str, Any]) -> Text:
    """A batch in one line, for logs."""
    counts = f"{printable(document['batch'])}: {state_counts(document)}"
    return Text("; ".join([counts, *_line_pace(document), *line_troubles(document), money_line(document)]))


def _line_pace(document: dict[str, Any]) -> list[str]:
    words = [*rate(document), *left(document)]
    return [", ".join(words)] if words else []


def line_troubles(document: dict[str, Any]) -> list[str]:
    """What is in the way, without words that change while it stays."""
    words = [f"held [{hold['code']}]" for hold in document["holds"] if hold["blocking"]]
    if document["unstored"] is not None:
        words.append(f"{document['unstored']['jobs']} not stored: {printable(document['unstored']['error'])}")
    if (document["provider"] or {}).get("down_since") is not None:
        words.append("the provider is taken for down")
    if (missing := missing_worker(document)) is not None:
        words.append(missing)
    return words


def _row(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _headline(document: dict[str, Any], clock: str) -> Text:
    mark = (" · sandbox", "yellow") if document["sandbox"] else ""
    return Text.assemble(
        (printable(document["batch"]), "bold"), mark, f" · {document['state'].replace('_', ' ')} · {clock}",
        no_wrap=True, overflow="ellipsis",
    )  # fmt: skip


def _bars(document: dict[str, Any], shown: Collection[str]) -> list[Bar]:
    jobs = document["jobs"]
    states = [state for state in _ORDER if jobs[state] or state in shown]
    names = max((len(state) for state in states), default=0)
    digits = len(f"{jobs['total']:,}")
    return [
        Bar(
            f"{state.replace('_', ' '):<{names}} {jobs[state]:>{digits},} ",
            jobs[state],
            jobs["total"],
            style=STATE_COLOURS.get(state, "dim"),
        )
        for state in states
    ]


def _done(document: dict[str, Any]) -> int:
    return sum(int(document["jobs"][state]) for state in _OVER)


def _pace(document: dict[str, Any], age_seconds: float) -> Text:
    words = [f"{_done(document):,}/{document['jobs']['total']:,} done"]
    words += [*rate(document), *left(document, age_seconds), *in_flight(document, age_seconds)]
    return Text(" · ".join(words))


def _money_lines(document: dict[str, Any]) -> list[RenderableType]:
    amounts, _ = money(document)
    lines: list[RenderableType] = [Text(money_line(document), style="dim")]
    if amounts["budget"] is not None and float(amounts["budget"]) > 0:
        used = sum(float(amounts[key]) for key in ("spent", "reserved", "in_doubt"))
        share = used / float(amounts["budget"])
        style = "green" if share < 0.8 else "yellow"
        lines.append(Bar("budget ", used, float(amounts["budget"]), style=style, tail=f" {share:.0%}"))
    return lines


def money_line(document: dict[str, Any]) -> str:
    """What is spent, reserved and in doubt, against the budget or the estimate."""
    amounts, unit = money(document)
    parts = [f"spent {amounts['spent']}", f"reserved {amounts['reserved']}"]
    if amounts["in_doubt"] != "0":
        parts.append(f"in doubt {amounts['in_doubt']}")
    parts.append(f"budget {amounts['budget']}" if amounts["budget"] else f"estimated {amounts['estimated']}")
    return " · ".join(parts) + (" sandbox " if document["sandbox"] else " ") + unit_word(unit)


def _last_errors(document: dict[str, Any]) -> list[Text]:
    errors = (document.get("progress") or {}).get("last_errors", [])
    return [
        _row(printable(f"{error['id']} {error['state']} [{error['code']}]: {error['message']}"), "red")
        for error in errors
    ]
