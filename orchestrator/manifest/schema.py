"""A manifest's top level: this project's own keys (interface, "Manifest")."""

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from orchestrator.base.diagnostics import Code
from orchestrator.base.payments import Payment
from orchestrator.manifest import values
from orchestrator.manifest.bare import collection_name
from orchestrator.manifest.bare_reader import read_bare
from orchestrator.manifest.careful_start import CarefulStart, read_careful_start
from orchestrator.manifest.collection_keys import (
    Reuse,
    ScheduleTimes,
    read_auto_rotate,
    read_partial,
    read_reuse,
    read_schedule,
    read_skip_at_most,
)
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.include import MERGED_KEYS, Included, merged, read_includes
from orchestrator.manifest.job_keys import JobDefaults, read_defaults
from orchestrator.manifest.job_list import JobList
from orchestrator.manifest.jobs import read_bare_jobs, read_jobs
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence
from orchestrator.manifest.notify import read_notify
from orchestrator.manifest.object_key import DEFAULT_KEY, label_names, read_key
from orchestrator.manifest.repeat import Job
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.manifest.variables import batch_labels, read_variables

VERSION = 1
MAX_BUNDLE = 100
MANIFEST_KEYS = (
    "version",
    "name",
    "destination",
    "key",
    "budget",
    "payment",
    "bundle",
    "price_tolerance",
    "canary",
    "stop_when",
    "notify",
    "reuse",
    "on_invalid",
    "auto_rotate",
    "partial",
    "schedule",
    "include",
    "vars",
    "labels",
    "defaults",
    "jobs",
)
PAYMENTS = tuple(payment.value for payment in Payment)
_NAME = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Budget:
    """A hard cap and the node that sets it."""

    amount: Decimal
    unit: Literal["credits", "usd"]
    node: Node


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file asks for, with its jobs' fields still as written.

    `skip_at_most` is a fraction of all jobs (Decimal) or a number of jobs (int). `payment_node` is where it says who
    pays, if it does.
    """

    name: str | None = None
    destination: str | None = None
    key: str = DEFAULT_KEY
    budget: Budget | None = None
    payment: Payment = Payment.CREDITS
    payment_node: Node | None = None
    bundle: int = 1
    careful_start: CarefulStart = field(default_factory=CarefulStart)
    labels: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Entry] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    notify: tuple[dict[str, Any], ...] = ()
    reuse: Reuse = "collection"
    skip_at_most: Decimal | int | None = None
    auto_rotate: bool = True
    partial: bool = False
    schedule: ScheduleTimes | None = None


def read_manifest(root: Node, setting: Setting, findings: Findings) -> Manifest:
    """The manifest of a file's root node; every fault of its own keys goes to `findings`."""
    if isinstance(root, Scalar) and root.value is None:
        root = Mapping({}, root.line, root.column)
    if not isinstance(root, Mapping):
        message = f"a manifest must be a mapping with `version`, `name` and `jobs`, it is {values.describe(root)}"
        findings.error(Code.INVALID_VALUE, root, message)
        return Manifest()
    entries = {name: entry for name, entry in root.entries.items() if not name.startswith("x-")}
    _check_keys(root, entries, findings)
    _check_version(entries.get("version"), findings)
    files = read_includes(entries.get("include"), setting, findings)
    given = {name: merged(name, entries.get(name), files, findings) for name in MERGED_KEYS}
    setting = replace(setting, variables=read_variables(given["vars"], findings))
    labels = values.labels(given["labels"], findings)
    defaults = read_defaults(given["defaults"], labels, given["labels"], findings)
    jobs = _jobs(entries, files, defaults, setting, findings)
    key = read_key(entries.get("key"), findings)
    _check_key_labels(entries.get("key"), key, jobs, findings)
    return Manifest(
        name=_name(entries.get("name"), findings),
        destination=_destination(entries.get("destination"), findings),
        key=key,
        budget=_budget(entries.get("budget"), findings),
        payment=_payment(entries.get("payment"), findings),
        payment_node=entries["payment"].value if "payment" in entries else None,
        bundle=_bundle(entries.get("bundle"), findings),
        careful_start=read_careful_start(entries, findings),
        labels=batch_labels(labels, setting.variables, jobs),
        defaults=defaults.fields,
        jobs=jobs,
        notify=read_notify(entries.get("notify"), findings),
        reuse=read_reuse(entries.get("reuse"), findings),
        skip_at_most=read_skip_at_most(entries.get("on_invalid"), findings),
        auto_rotate=read_auto_rotate(entries.get("auto_rotate"), findings),
        partial=read_partial(entries.get("partial"), findings),
        schedule=read_schedule(entries.get("schedule"), findings),
    )


def bare_manifest(name: str, setting: Setting, findings: Findings) -> Manifest:
    """The manifest that a CSV or JSONL file is: only jobs, its collection named after the file."""
    jobs = JobList()
    found = read_bare(name, setting.sources, setting.fields, findings)
    if found is not None:
        read_bare_jobs(found, JobDefaults(), setting, jobs, findings)
    if not jobs.jobs and not findings.errors:
        findings.error(Code.INVALID_VALUE, Scalar(None, 1, 1), "the file has no jobs", "jobs")
    return Manifest(name=collection_name(name), jobs=tuple(jobs.jobs))


def _jobs(
    entries: dict[str, Entry], files: list[Included], defaults: JobDefaults, setting: Setting, findings: Findings
) -> tuple[Job, ...]:
    """The jobs of the included files, then the manifest's own."""
    jobs = JobList()
    for file in files:
        if file.bare is not None:
            read_bare_jobs(file.bare, defaults, setting, jobs, findings)
        for line, node in file.jobs:
            own = findings.for_job(None, f"{file.name}, line {line}")
            read_jobs(Sequence([node], file.place.line, file.place.column), defaults, setting, jobs, own)
    if "jobs" in entries:
        read_jobs(entries["jobs"].value, defaults, setting, jobs, findings)
    place = entries.get("jobs") or entries.get("include")
    if place and not jobs.jobs and not findings.errors:
        findings.error(Code.INVALID_VALUE, place.value, "the manifest makes no job at all", "jobs")
    return tuple(jobs.jobs)


def _check_keys(root: Mapping, entries: dict[str, Entry], findings: Findings) -> None:
    for name, entry in entries.items():
        if name not in MANIFEST_KEYS:
            message = f"a manifest has no key `{values.shorten(name)}`{did_you_mean(name, MANIFEST_KEYS)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, name)
    for name in ("version", "name", "jobs"):
        if name not in entries and not (name == "jobs" and "include" in entries):
            findings.error(Code.MISSING_FIELD, root, f"a manifest needs `{name}`", name)


def _check_version(entry: Entry | None, findings: Findings) -> None:
    if entry is None:
        return
    value = entry.value.value if isinstance(entry.value, Scalar) else None
    if type(value) is not int or value != VERSION:
        message = f"`version` must be {VERSION}, it is {values.describe(entry.value)}"
        findings.error(Code.INVALID_VALUE, entry.value, message, "version")


def _payment(entry: Entry | None, findings: Findings) -> Payment:
    payment = values.text(entry.value, "payment", findings) if entry else None
    if entry is None or payment is None:
        return Payment.CREDITS
    if payment not in PAYMENTS:
        message = f"`payment` must be one of {', '.join(PAYMENTS)}{did_you_mean(payment, PAYMENTS)}"
        findings.error(Code.INVALID_VALUE, entry.value, message, "payment")
        return Payment.CREDITS
    return Payment(payment)


def _check_key_labels(entry: Entry | None, key: str, jobs: tuple[Job, ...], findings: Findings) -> None:
    needed = label_names(key)
    if entry is None or not needed:
        return
    for job in jobs:
        for label in needed:
            if label not in job.labels and not job.is_broken:
                message = f"`key` uses {{label.{label}}}, which job `{job.id}` does not have"
                findings.for_job(job.id).error(Code.INVALID_VALUE, entry.value, message, "key")


def _name(entry: Entry | None, findings: Findings) -> str | None:
    name = values.text(entry.value, "name", findings) if entry else None
    if entry is None or name is None or _NAME.fullmatch(name):
        return name
    message = f"`name` takes 1 to 64 of a-z, 0-9 and `-`, it is `{values.shorten(name)}`"
    findings.error(Code.INVALID_VALUE, entry.value, message, "name")
    return None


def _destination(entry: Entry | None, findings: Findings) -> str | None:
    destination = values.text(entry.value, "destination", findings) if entry else None
    if entry is None or destination is None:
        return None
    if _is_destination(destination):
        return destination
    message = f"`destination` must be s3://bucket/prefix or a folder, it is `{values.shorten(destination)}`"
    findings.error(Code.INVALID_VALUE, entry.value, message, "destination")
    return None


def _is_destination(text: str) -> bool:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return True
    bucket, _, path = rest.partition("/")
    return bool(bucket) if scheme == "s3" else scheme == "file" and bool(path)


def _budget(entry: Entry | None, findings: Findings) -> Budget | None:
    node = values.mapping(entry.value, "budget", findings, such_as="{credits: 500}") if entry else None
    if node is None:
        return None
    for name, unknown in node.entries.items():
        if name not in ("credits", "usd"):
            message = f"`budget` has no key `{values.shorten(name)}`; expected `credits` or `usd`"
            findings.error(Code.UNKNOWN_FIELD, unknown.key, message, f"budget.{name}")
    given: list[Literal["credits", "usd"]] = [unit for unit in _UNITS if unit in node.entries]
    if len(given) != 1:
        if len(given) == 2 or not node.entries:
            findings.error(Code.INVALID_VALUE, node, "`budget` takes either `credits` or `usd`", "budget")
        return None
    amount_node = node.entries[given[0]].value
    amount = values.amount(amount_node, f"budget.{given[0]}", findings)
    return None if amount is None else Budget(amount, given[0], amount_node)


_UNITS: tuple[Literal["credits"], Literal["usd"]] = ("credits", "usd")


def _bundle(entry: Entry | None, findings: Findings) -> int:
    size = values.whole_number(entry.value, "bundle", findings, 1, MAX_BUNDLE) if entry else None
    return 1 if size is None else size
