"""What the page shows, as plain data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from orchestrator.base.money import ZERO, canonical, unit_word
from orchestrator.report.variants import Subject, variants, words_of

#: A prompt may be very long; the page shows as much of it.
_LONGEST_TEXT = 8000
_OPEN_STATES = ("waiting", "pending", "submitting", "generating", "copying", "in_doubt")


@dataclass(frozen=True, slots=True)
class ShownFile:
    """One stored original as the page has it: `href` leads to it, `thumb` to its picture beside the page.

    `text` is what a text says. `missing`: it is not where it was stored.
    """

    kind: str
    sha256: str
    href: str
    about: str
    length: str
    thumb: str | None = None
    text: str | None = None
    missing: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "sha256": self.sha256,
            "href": self.href,
            "about": self.about,
            "length": self.length,
            "thumb": self.thumb,
            "text": self.text,
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class PageJob:
    """One job: its document as `jobs` has it, what it was made of, and its files. `refused` are the decisions that
    cannot be made about it, each with the reason.
    """

    document: Mapping[str, Any]
    item: Mapping[str, Any]
    row: Mapping[str, Any] | None
    made_in_seconds: float | None
    ended_at: str | None
    files: Sequence[ShownFile] = field(default_factory=tuple)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def amounts(self) -> Mapping[str, Any]:
        """What it costs, in whichever unit it was paid."""
        amounts: Mapping[str, Any] = self.document["credits"] if self._is_credits else self.document["usdc"]
        return amounts

    @property
    def _is_credits(self) -> bool:
        return self.document["usdc"] is None

    @property
    def unit(self) -> str:
        return unit_word("credits" if self._is_credits else "usdc")


def page_document(batch: str, jobs: Sequence[PageJob]) -> dict[str, Any]:
    """The data behind the page."""
    subjects = [Subject(job.document["model"] or "", job.item, job.row) for job in jobs]
    titles, groups, words = variants(subjects)
    return {
        "batch": batch,
        "groups": titles,
        "cards": [_card(job, group, word) for job, group, word in zip(jobs, groups, words, strict=True)],
    }


def by_model(jobs: Sequence[PageJob]) -> list[dict[str, Any]]:
    """What each model's jobs cost so far, the dearest first; `share` is of the dearest."""
    spent: dict[str, Decimal] = defaultdict(lambda: ZERO)
    counts: dict[str, int] = defaultdict(int)
    for job in jobs:
        model = job.document["model"] or "no model"
        spent[model] += Decimal(job.amounts["spent"] or 0)
        counts[model] += 1
    most = max(spent.values(), default=ZERO) or Decimal(1)
    dearest_first = sorted(spent, key=lambda model: (-spent[model], model))
    return [
        {
            "model": model,
            "jobs": counts[model],
            "spent": canonical(spent[model]),
            "share": f"{spent[model] / most:.4f}",
        }
        for model in dearest_first
    ]


def seconds_text(seconds: float | None) -> str:
    """`0.4 s`, `38 s`, `2 min 5 s`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _card(job: PageJob, group: int, variant: str) -> dict[str, Any]:
    document, error = job.document, job.document["error"]
    return {
        "id": document["id"],
        "state": document["state"],
        "model": document["model"] or "",
        "variant": variant,
        "group": group,
        "prompt": _cut(words_of(job.item)),
        "cost": _cost(job),
        "took": seconds_text(job.made_in_seconds),
        "labels": document["labels"],
        "error": None if error is None else {"code": error["code"], "message": _cut(error["message"])},
        "review": document["review"],
        "refused": dict(job.refused),
        "files": [file.document() for file in job.files],
        "facts": _facts(job),
    }


def _cost(job: PageJob) -> str:
    if job.document["reused_from"] is not None:
        return "reused"
    spent = job.amounts["spent"]
    if spent is None or (Decimal(spent) == 0 and job.document["state"] in _OPEN_STATES):
        return f"about {job.amounts['estimated']} {job.unit}" if job.document["state"] in _OPEN_STATES else ""
    return f"{spent} {job.unit}"


def _facts(job: PageJob) -> list[tuple[str, str]]:
    """Everything worth knowing about a job, by name."""
    document, error = job.document, job.document["error"] or {}
    review = document["review"] or {}
    facts = {
        "state": document["state"],
        "prompt": _cut(words_of(job.item)),
        "model": document["model"],
        "cost": _cost(job),
        "took": seconds_text(job.made_in_seconds),
        "ended": job.ended_at,
        "error": ": ".join(filter(None, (error.get("code"), error.get("message")))),
        "in the provider's words": error.get("provider"),
        "reused from": document["reused_from"],
        "decision": ", ".join(filter(None, (review.get(key) for key in ("decision", "note", "actor", "at")))),
        "verdict": review.get("verdict"),
        "labels": ", ".join(f"{name}={value}" for name, value in document["labels"].items()),
        "row": ", ".join(f"{name}={value}" for name, value in (job.row or {}).items()),
        "request": document["request_id"],
        "attempts": document["attempts"],
    }
    settings = Subject(document["model"] or "", job.item, job.row).settings()
    shown = facts | {name: value for name, value in settings.items() if name not in facts}
    return [(name, _cut(value)) for name, value in shown.items() if value not in (None, "")]


def _cut(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
