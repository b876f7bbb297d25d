"""One batch, or several, for people."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.base.money import unit_word
from orchestrator.cli.console import printable, safe
from orchestrator.cli.pace import in_flight, left, missing_worker, provider_lines, rate, troubles, unattended
from orchestrator.cli.words import ago, counted, elapsed_between, money, money_text, place, since_text, state_counts

#: Holds that `resume` leaves: their own command answers them.
ANSWERED_HOLDS = ("in-doubt", "canary", "price-changed", "unusual-work", "gate")
#: How many failed jobs a summary names.
FAILURES_SHOWN = 10
#: How many reasons for skipping jobs it names.
REASONS_SHOWN = 3
STATE_COLOURS = {
    "running": "cyan", "generating": "cyan", "copying": "cyan", "submitting": "cyan",
    "completed": "green",
    "held": "yellow", "paused": "yellow", "partial_failure": "yellow", "in_doubt": "yellow",
    "failed": "red", "rejected": "red",
}  # fmt: skip


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state.replace("_", " "), style=STATE_COLOURS.get(state, ""))


def failed_count(document: dict[str, Any]) -> int:
    """How many jobs of a batch ended without what they should give."""
    return int(document["jobs"]["failed"] + document["jobs"]["rejected"])


def batch_table(documents: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """What needs a person, then the recent batches, in the order given."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("batch", no_wrap=True, overflow="ignore", min_width=_widest(documents))
    table.add_column("state", no_wrap=True)
    table.add_column("completed", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("spent", justify="right")
    table.add_column("started", no_wrap=True)
    for document in documents:
        jobs = document["jobs"]
        amounts, unit = money(document)
        spent = money_text(amounts["spent"], unit) + (" (sandbox)" if document["sandbox"] else "")
        table.add_row(
            safe(document["batch"]),
            state_text(document["state"]),
            f"{jobs['completed']}/{jobs['total']}",
            str(failed_count(document) or ""),
            spent,
            ago(document["created_at"]),
        )
    caps = {cap.plain: cap for document in documents for cap in _near_caps(document)}  # one account, one line
    needed = [line for document in documents for line in needs(document, named=True)]
    troubled = {line.plain: line for document in documents for line in provider_lines(document)}
    return [*needed, *unattended(documents), *troubled.values(), *caps.values(), table]


def _widest(documents: Sequence[dict[str, Any]]) -> int:
    """An id is there to be copied: it is never broken over two lines."""
    return max((len(document["batch"]) for document in documents), default=0)


def summary(document: dict[str, Any], fruitless: Sequence[dict[str, Any]] = ()) -> list[RenderableType]:
    """How a batch is or ended: what it needs a person for, files, money, what failed and what to do next.

    `fruitless` are its jobs that ended as failed, rejected or skipped.
    """
    failures = [job for job in fruitless if job["state"] != "skipped"]
    return [
        headline(document),
        *needs(document),
        *troubles(document),
        _jobs(document),
        *_pace(document),
        *_files(document),
        _cost(document),
        *_over_budget(document),
        *_failures(document, failures),
        *_skipped(job for job in fruitless if job["state"] == "skipped"),
        *_near_caps(document),
        *_notifications(document),
        *_next_commands(document, failures),
    ]


def headline(document: dict[str, Any]) -> Text:
    """Which batch it is and how it is."""
    sandbox = (" (sandbox)", "yellow") if document["sandbox"] else ""
    being_cancelled = document["cancelled_at"] is not None and document["state"] != "cancelled"
    took = elapsed_between(document["created_at"], document["finished_at"])
    return Text.assemble(
        (printable(document["batch"]), "bold"),
        sandbox,
        ": ",
        state_text(document["state"]),
        " (being cancelled)" if being_cancelled else "",
        f" in {took}" if took else "",
    )


def _jobs(document: dict[str, Any]) -> Text:
    reused = f" ({document['reused']} reused)" if document.get("reused") else ""
    return Text(f"jobs: {state_counts(document)}, of {document['jobs']['total']}{reused}")


def _pace(document: dict[str, Any]) -> list[Text]:
    words = [*rate(document), *left(document), *in_flight(document)]
    return [Text(f"pace: {', '.join(words)}")] if words else []


def _files(document: dict[str, Any]) -> list[Text]:
    if not document["jobs"]["completed"]:
        return []
    where = place(f"{document['destination'].rstrip('/')}/{document['name']}")
    return [safe(f"files: {where} (listed in its index.json and index.csv)")]


def _cost(document: dict[str, Any]) -> Text:
    amounts, unit = money(document)
    spent = money_text(amounts["spent"], unit, document["usd"]["spent"])
    if document["sandbox"]:
        return Text(f"money: would have cost {spent}; this was the sandbox, nothing was spent")
    estimated = money_text(amounts["estimated"], unit, document["usd"]["estimated"])
    parts = [f"money: spent {spent} of {estimated} estimated"]
    parts += [
        f"{amounts[key]} {key.replace('_', ' ')}" for key in ("reserved", "in_doubt", "lost") if amounts[key] != "0"
    ]
    if amounts["budget"] is not None:
        parts.append(f"budget {amounts['budget']}")
    return Text(", ".join(parts))


def _over_budget(document: dict[str, Any]) -> list[Text]:
    amounts, unit = money(document)
    if document["over_budget"] is None:
        return []
    words = f"over its budget of {amounts['budget']} by {document['over_budget']} {unit_word(unit)}"
    return [safe(f"{words}: what was under way cost more than was planned", "yellow")]


def _failures(document: dict[str, Any], failures: Sequence[dict[str, Any]]) -> list[Text]:
    lines = [_failure(job) for job in failures[:FAILURES_SHOWN]]
    more = failed_count(document) - len(lines)
    if lines and more > 0:
        lines.append(safe(f"  and {more} more: orchestrator jobs {document['batch']} --by error", "red"))
    return lines


def _failure(job: dict[str, Any]) -> Text:
    error = job["error"] or {"code": "unknown", "message": "", "charged": False}
    charged = ", charged" if error.get("charged") else ""
    return safe(f"  {job['id']} {job['state']} [{error['code']}{charged}]: {error['message']}", "red")


def _skipped(jobs: Iterable[dict[str, Any]]) -> list[Text]:
    """The commonest reasons."""
    reasons = Counter((job["error"] or {}).get("message", "") for job in jobs)
    return [safe(f"  {number} skipped: {why}") for why, number in reasons.most_common(REASONS_SHOWN) if why]


def needs(document: dict[str, Any], *, named: bool = False) -> list[Text]:
    """What a batch needs a person for: the code and why, since when, the money at stake, and the command.

    `named`: each says of which batch it is.
    """
    who = f"{document['batch']} " if named else ""
    holds = [
        _need(f"{who}held [{hold['code']}]: {hold['message']}", _stake(document, hold), hold["command"])
        for hold in document["holds"]
    ]
    return holds + _unstored(document, who)


def _need(what: str, stake: str, command: str) -> Text:
    return Text.assemble(
        (printable(what), "yellow"),
        f"\n  {stake}",
        f"\n  next: {printable(command)}" if command else "",
        overflow="fold",
    )


def _unstored(document: dict[str, Any], who: str) -> list[Text]:
    """That files are not stored though it was tried more than once, unless a hold tells it."""
    found = document["unstored"]
    if found is None or any(hold["code"] == "destination-failing" for hold in document["holds"]):
        return []
    again = "mend that, and it is tried again by itself"
    what = f"{who}not stored [{counted(found['jobs'], 'job')}]: {found['error']}; {again}"
    expiry = f" · the first file is to be had until {found['first_expires_at']}" if found["first_expires_at"] else ""
    return [_need(what, _stake(document, found) + expiry, f"orchestrator resume {document['batch']}")]


def _stake(document: dict[str, Any], hold: dict[str, Any]) -> str:
    _, unit = money(document)
    sandbox = "sandbox " if document["sandbox"] else ""
    return f"{since_text(hold['since'])} · {hold['at_stake']} {sandbox}{unit_word(unit)} at stake"


def _notifications(document: dict[str, Any]) -> list[Text]:
    """Those that nobody took."""
    return [
        safe(
            f"{notice['host']} did not take the notification {notice['event']}: {notice['error']}, "
            + ("given up" if notice["given_up"] else "it is tried again"),
            "yellow",
        )
        for notice in document["notifications"]
    ]


def _near_caps(document: dict[str, Any]) -> list[Text]:
    return [
        safe(
            f"the account's {cap['window']} cap: {cap['used']} of {cap['cap']} {unit_word(cap['unit'])} used, "
            f"{cap['left']} left until {cap['ends_at']}",
            "yellow",
        )
        for cap in document["near_caps"]
    ]


def _next_commands(document: dict[str, Any], failures: Sequence[dict[str, Any]]) -> list[Text]:
    batch, state = document["batch"], document["state"]
    commands = [f"orchestrator jobs {batch}"]
    if state == "running":
        is_worked = document.get("progress") is not None and missing_worker(document) is None
        commands = [f"orchestrator watch {batch}", *([] if is_worked else [f"orchestrator resume {batch}"])]
    elif state == "paused" or any(hold["code"] not in ANSWERED_HOLDS for hold in document["holds"]):
        commands = [f"orchestrator resume {batch}", *commands]
    elif failed_count(document) and state in ("failed", "partial_failure"):
        commands += _ways_to_mend(batch, failures)
    elif state == "partial_failure" and document["jobs"]["skipped"]:  # a retry mended what they were skipped for
        commands.append(f"orchestrator retry {batch}")
    return [safe("next: " + "   ".join(commands), "dim")]


def _ways_to_mend(batch: str, failures: Sequence[dict[str, Any]]) -> list[str]:
    """What helps those that failed: another try, a try that is paid for once more, or another manifest."""
    tried = [job for job in failures if not _is_left_out(job)]
    codes = {(job["error"] or {}).get("code") for job in tried} - {"dependency-failed"}
    ways = [_retry(batch, tried, only_lost=codes == {"payment-lost"})] if codes else []
    if len(tried) < len(failures):
        ways.append("mend the rows that were left out, and submit the manifest again")
    return ways


def _retry(batch: str, tried: Sequence[dict[str, Any]], *, only_lost: bool) -> str:
    """What was charged and gave no file is not to be paid for again without a word."""
    errors = [job["error"] or {} for job in tried]
    taken = errors if only_lost else [error for error in errors if error.get("code") != "payment-lost"]
    charged = sum(bool(error.get("charged")) for error in taken)
    word = f" (pays again for {charged} that gave no file)" if charged else ""
    return f"orchestrator retry {batch}{' --again' if only_lost else ''}{word}"


def _is_left_out(job: dict[str, Any]) -> bool:
    """Whether `on_invalid` left a job out for its row: it was never priced."""
    return bool(job["state"] == "rejected" and job["credits"]["estimated"] == "0")
