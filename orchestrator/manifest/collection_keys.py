"""The keys about a collection over many nights: `reuse`, `on_invalid`, `auto_rotate` and `schedule`."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from orchestrator.base.cron import check
from orchestrator.base.diagnostics import Code
from orchestrator.base.notices import may_be_sent_to, url_fault
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import MAX_JOBS
from orchestrator.manifest.nodes import Entry, Mapping, Scalar
from orchestrator.manifest.suggest import did_you_mean

Reuse = Literal["collection", "all", "none"]
REUSES: tuple[Reuse, ...] = ("collection", "all", "none")
SCHEDULE_KEYS = ("cron", "tz", "heartbeat")
_MIDNIGHT = "0 0 * * *"


@dataclass(frozen=True, slots=True)
class ScheduleTimes:
    """When a manifest is to be submitted by itself: a cron expression of five fields in an IANA time zone.

    `heartbeat` is a URL that is called when a run has begun.
    """

    cron: str
    tz: str = "UTC"
    heartbeat: str | None = None


def read_reuse(entry: Entry | None, findings: Findings) -> Reuse:
    """Where results are looked for that need not be bought again."""
    if entry is None:
        return "collection"
    word = entry.value.value if isinstance(entry.value, Scalar) else None
    for reuse in REUSES:
        if word == reuse:
            return reuse
    hint = did_you_mean(word, REUSES) if isinstance(word, str) else ""
    message = f"`reuse` must be one of {', '.join(REUSES)}, it is {values.describe(entry.value)}{hint}"
    findings.error(Code.INVALID_VALUE, entry.value, message, "reuse")
    return "collection"


def read_auto_rotate(entry: Entry | None, findings: Findings) -> bool:
    """Whether photos that lie on their side are turned upright."""
    return _switch(entry, "auto_rotate", findings, default=True)


def read_partial(entry: Entry | None, findings: Findings) -> bool:
    """Whether the jobs are a part of their collection only: what it has besides stays in it."""
    return _switch(entry, "partial", findings, default=False)


def _switch(entry: Entry | None, name: str, findings: Findings, *, default: bool) -> bool:
    if entry is None:
        return default
    value = entry.value.value if isinstance(entry.value, Scalar) else None
    if isinstance(value, bool):
        return value
    message = f"`{name}` must be true or false, it is {values.describe(entry.value)}"
    findings.error(Code.INVALID_VALUE, entry.value, message, name)
    return default


def read_skip_at_most(entry: Entry | None, findings: Findings) -> Decimal | int | None:
    """How many jobs may be left out for what their own rows say: a fraction of all (Decimal) or a number (int)."""
    node = values.mapping(entry.value, "on_invalid", findings) if entry else None
    if node is None:
        return None
    _check_keys(node, "on_invalid", ("skip_at_most",), findings)
    at_most = node.entries.get("skip_at_most")
    if at_most is None:
        if not node.entries:
            message = "`on_invalid` takes `skip_at_most`, such as 2% or 10"
            findings.error(Code.INVALID_VALUE, node, message, "on_invalid")
        return None
    if isinstance(at_most.value, Scalar) and isinstance(at_most.value.value, int):
        return values.whole_number(at_most.value, "on_invalid.skip_at_most", findings, 0, MAX_JOBS)
    return values.fraction(at_most.value, "on_invalid.skip_at_most", findings, or_else="a number of jobs")


def read_schedule(entry: Entry | None, findings: Findings) -> ScheduleTimes | None:
    """When the manifest is submitted by itself; None where it does not say, or says it badly."""
    node = values.mapping(entry.value, "schedule", findings) if entry else None
    if node is None:
        return None
    _check_keys(node, "schedule", SCHEDULE_KEYS, findings)
    errors_before = len(findings.errors)
    if "cron" not in node.entries:
        findings.error(Code.MISSING_FIELD, node, "`schedule` needs `cron`, such as 0 2 * * *", "schedule.cron")
    cron = _checked(node.entries.get("cron"), "schedule.cron", findings)
    tz = _checked(node.entries.get("tz"), "schedule.tz", findings)
    heartbeat = _heartbeat(node.entries.get("heartbeat"), findings)
    return None if cron is None or len(findings.errors) > errors_before else ScheduleTimes(cron, tz or "UTC", heartbeat)


def _checked(entry: Entry | None, path: str, findings: Findings) -> str | None:
    text = values.text(entry.value, path, findings) if entry else None
    if entry is None or text is None:
        return None
    try:
        check(*((text, "UTC") if path == "schedule.cron" else (_MIDNIGHT, text)))
    except ValueError as error:
        findings.error(Code.INVALID_VALUE, entry.value, f"`{path}`: {error}", path)
    return text


def _heartbeat(entry: Entry | None, findings: Findings) -> str | None:
    if entry is None:
        return None
    url = entry.value.value if isinstance(entry.value, Scalar) else None
    if isinstance(url, str) and url.isprintable() and may_be_sent_to(url):
        return url
    findings.error(Code.INVALID_VALUE, entry.value, url_fault("schedule.heartbeat"), "schedule.heartbeat")
    return None


def _check_keys(node: Mapping, path: str, known: tuple[str, ...], findings: Findings) -> None:
    for name, unknown in node.entries.items():
        if name not in known:
            message = f"`{path}` has no key `{values.shorten(name)}`{did_you_mean(name, known)}"
            findings.error(Code.UNKNOWN_FIELD, unknown.key, message, f"{path}.{name}")
