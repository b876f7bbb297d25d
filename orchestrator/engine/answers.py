"""What the provider's answer says of each item, as outcomes for the store. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from orchestrator.base.money import ZERO
from orchestrator.base.states import JobError, JobState
from orchestrator.engine.tariff import IN_CREDITS, Tariff
from orchestrator.katana.problem import Problem, read_problem
from orchestrator.katana.wire import Answer, Item, OutputAsset
from orchestrator.store.polling import ItemOutcome, Source

_FAILED = frozenset({"failed", "error"})
_DONE = frozenset({"completed"})
_REJECTED = frozenset({"rejected"})
_PARTLY = "partial_failure"
_FINAL = _FAILED | _DONE | _REJECTED | {_PARTLY}


def job_error(code: JobError, message: str, *, charged: bool | None, provider: Problem | None = None) -> dict[str, Any]:
    """The `error` document of a job (interface "JSON")."""
    said = provider.document() if provider else None
    return {"code": code, "message": message, "charged": charged, "provider": said}


def read_outcomes(
    answer: Answer, open_items: Iterable[tuple[int, Decimal]], *, patience_over: bool, tariff: Tariff = IN_CREDITS
) -> list[ItemOutcome]:
    """The outcomes of those items of `open_items` (position, estimate) on which the answer is final.

    A status word that the guide does not know is no outcome. `patience_over`: the request is called finished, and
    an item of which nothing final can be read has been asked about for long enough. `tariff` tells how it is paid.
    """
    positions = list(open_items)
    charges = tariff.charges(answer, positions, final=answer.status in _FINAL)
    read = (
        _read_item(answer, position, estimate, charges[position], patience_over=patience_over)
        for position, estimate in positions
        if position in charges
    )
    return [_timed(outcome, _item_at(answer, outcome.position)) for outcome in read if outcome is not None]


def is_final(answer: Answer) -> bool:
    """Whether an answer says the final word on anything; else there are no outcomes to be read of it."""
    return answer.status in _FINAL or any(item.status in _FINAL for item in answer.responses)


def is_stuck(answer: Answer, positions: Iterable[int]) -> bool:
    """Whether the provider is done with one of these items, although nothing final can be read of it."""
    return any(_is_done_with(answer, _item_at(answer, position)) for position in positions)


def _is_done_with(answer: Answer, item: Item | None) -> bool:
    """An item that is not in the answer at all is waited for."""
    return item is not None and (answer.status in _FINAL or item.status in _DONE)


def _timed(outcome: ItemOutcome, item: Item | None) -> ItemOutcome:
    return replace(outcome, generation_seconds=item.generation_seconds) if item is not None else outcome


def _item_at(answer: Answer, position: int) -> Item | None:
    return answer.responses[position] if position < len(answer.responses) else None


def _read_item(
    answer: Answer, position: int, estimate: Decimal, charge: Decimal | None, *, patience_over: bool
) -> ItemOutcome | None:
    item = _item_at(answer, position)
    status = _item_status(answer, item)
    problem = read_problem(item.error if item is not None else None) or read_problem(answer.error)
    if status in _REJECTED:
        spent = charge if charge is not None else ZERO  # guide: "Rejected validation items are not charged"
        return _ended(position, JobState.REJECTED, JobError.REJECTED_INPUT, spent, problem, known=True)
    if status in _FAILED:
        spent = charge if charge is not None else estimate  # unsaid: counted at its worst case
        return _ended(position, JobState.FAILED, JobError.PROVIDER_FAILED, spent, problem, known=charge is not None)
    if status in _DONE and item is not None:
        spent = charge if charge is not None else estimate
        sources = tuple(_sources(item))
        if any(source.role == "original" for source in sources):
            return ItemOutcome(position, JobState.COPYING, spent, sources=sources, is_told=charge is not None)
    if patience_over and _is_done_with(answer, item):
        return _given_up(answer, position, status, charge, estimate)
    return None


def _given_up(
    answer: Answer, position: int, status: str | None, charge: Decimal | None, estimate: Decimal
) -> ItemOutcome:
    """The request is finished, and the item is neither failed nor does it name a file: its word is kept as it is."""
    if status in _DONE:
        error = job_error(JobError.PROVIDER_FAILED, "completed without any file", charged=True)
    else:
        words = f"the request is {answer.status}, the item is {status or 'without a status'}"
        error = job_error(JobError.UNKNOWN, words, charged=None)
    spent = charge if charge is not None else estimate
    return ItemOutcome(position, JobState.FAILED, spent, error=error, is_told=charge is not None)


def _item_status(answer: Answer, item: Item | None) -> str | None:
    """The item's own word; where it has none, the request's final one, or what the item itself shows."""
    if item is not None and item.status is not None:
        return item.status
    if answer.status == _PARTLY and item is not None:
        if any(asset.source for asset in item.output_assets):
            return "completed"
        return "failed" if item.error else None
    return answer.status if answer.status in _DONE | _FAILED | _REJECTED else None


def _ended(
    position: int, state: JobState, code: JobError, spent: Decimal, problem: Problem | None, *, known: bool
) -> ItemOutcome:
    filed = problem.filed_under(code) if problem else code
    message = problem.message if problem else f"the provider reported it {state} without a reason"
    charged = spent > 0 if known else None
    error = job_error(filed, message, charged=charged, provider=problem)
    return ItemOutcome(position, state, spent, error=error, is_told=known)


def _sources(item: Item) -> Iterable[Source]:
    for position, asset in enumerate(item.output_assets):
        if asset.source is None:
            continue
        kind = _kind(asset, item)
        yield _source(position, "original", kind, asset.source, asset, tags=_tags(asset))
        for role, its_kind, url in _renditions(asset, kind):
            yield _source(position, role, its_kind, url, asset)


def _renditions(asset: OutputAsset, kind: str) -> Iterable[tuple[str, str, str]]:
    """Role, kind and URL of what is there beside the file itself, which may stand in the place of each of them."""
    named = (
        ("thumbnail", "image", asset.thumbnail_image_url),
        ("preview", "video", asset.thumbnail_silent_video_mp4_url),
        ("preview", kind, asset.url),
        ("final_frame", "image", asset.final_frame_image_url),
    )
    roles = set()
    for role, its_kind, url in named:
        if url is not None and url != asset.source and role not in roles:
            roles.add(role)
            yield role, its_kind, url


def _source(
    position: int, role: str, kind: str, url: str, asset: OutputAsset, tags: list[dict[str, Any]] | None = None
) -> Source:
    declared = asset.mime_type if role == "original" else None
    return Source(position, role, kind, url, asset.expires_at, declared, tags or [])


def _kind(asset: OutputAsset, item: Item) -> Literal["image", "video"]:
    words = f"{asset.kind or ''} {asset.mime_type or ''}" if asset.kind or asset.mime_type else str(item.type)
    return "video" if "video" in words.lower() else "image"


def _tags(asset: OutputAsset) -> list[dict[str, Any]]:
    return [tag for tag in asset.metadata.tags if isinstance(tag, dict)]
