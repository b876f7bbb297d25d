"""`export`: a batch's results as data, or its jobs as a manifest to be edited and submitted."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.media import media_key
from orchestrator.base.errors import UsageError
from orchestrator.base.money import canonical
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.settings import Settings
from orchestrator.manifest.writing import manifest_text
from orchestrator.operations.database import open_database
from orchestrator.planner.fields import fields_beside_extra
from orchestrator.planner.fingerprint import fingerprint
from orchestrator.planner.item_media import as_written
from orchestrator.store import batches, exports, job_reads
from orchestrator.store.exports import ExportedBatch, ExportedJob

#: What a manifest counts a budget in.
_BUDGET_UNITS = {Unit.CREDITS: "credits", Unit.USDC: "usd"}
_TAKE = re.compile(r"(.+)\.([1-9]\d*)", re.DOTALL)


def results(reference: str, settings: Settings, *, state: str | None = None) -> list[dict[str, Any]]:
    """The jobs of a batch as `jobs` has them, each with its prompt, its row's columns and its fingerprint."""
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        documents = job_reads.job_documents(connection, batch_id, state=state)
        made_of = {job.name: job for job in exports.exported_jobs(connection, batch_id)}
    return [document | _more(made_of[document["id"]]) for document in documents]


def _more(job: ExportedJob) -> dict[str, Any]:
    return {"prompt": job.item.get("prompt"), "row": job.row, "fingerprint": job.fingerprint}


def manifest(
    reference: str, settings: Settings, *, state: str | None = None, only: Collection[str] | None = None
) -> str:
    """The jobs of a batch as a manifest of concrete jobs, under its budget; unchanged, it buys nothing that is there.

    With `state`, those in it and what they are made from, as a part of the collection; so with `only` those of these
    names. Raises UsageError where there is none.
    """
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        batch = exports.exported_batch(connection, batch_id)
        everything = {job.name: job for job in exports.exported_jobs(connection, batch_id)}
    named = [job for job in everything.values() if only is None or job.name in only]
    wanted = with_needs([job.name for job in named if job.item and state in (None, job.state)], everything)
    if not wanted:
        raise UsageError(f"{batch_id} has no {state or ''} jobs that a manifest could hold".replace("  ", " "))
    chosen = [job for job in everything.values() if job.name in wanted]
    media = open_destination(batch.media)
    is_part = state is not None or only is not None
    return manifest_text(_head(batch, is_part=is_part), _jobs(chosen, media), f"exported from {batch.id}")


def with_needs(chosen: Iterable[str], everything: Mapping[str, ExportedJob]) -> set[str]:
    """The names of some jobs and of all that they are made from."""
    wanted: set[str] = set()
    todo = list(chosen)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += everything[name].needs
    return wanted


def _head(batch: ExportedBatch, *, is_part: bool) -> dict[str, Any]:
    head: dict[str, Any] = {"version": 1, "name": batch.name, "destination": batch.destination, "key": batch.key}
    if batch.payment is not Payment.CREDITS:
        head["payment"] = batch.payment
    if batch.budget is not None:
        head["budget"] = {_BUDGET_UNITS[batch.payment.unit]: canonical(batch.budget)}
    return head | ({"bundle": batch.bundle} if batch.bundle > 1 else {}) | ({"partial": True} if is_part else {})


def _jobs(chosen: Sequence[ExportedJob], media: Destination) -> list[dict[str, Any]]:
    """The jobs as a manifest gives them; takes of one job are one job again."""
    known = {job.name: job.fingerprint or "" for job in chosen}
    written: dict[str, dict[str, Any]] = {}
    for job in chosen:
        base, take = _take(job, known)
        entry = _job(job, media) | {"id": base}
        if take is None or base in known or written.get(base, entry) | {"takes": take} != entry | {"takes": take}:
            written[job.name] = entry | {"id": job.name}
        else:
            written[base] = entry | {"takes": max(take, written.get(base, {}).get("takes", 0))}
    return list(written.values())


def _take(job: ExportedJob, known: Mapping[str, str]) -> tuple[str, int | None]:
    """The id that a job's takes share, and its number; its own id and None where it is no take."""
    found = _TAKE.fullmatch(job.name)
    if found is None or job.fingerprint is None:
        return job.name, None
    take = int(found[2])
    item = _with_origins(job.item)
    is_take = fingerprint(type=job.type, model=job.model, item=item, take=take, needed=known) == job.fingerprint
    return (found[1], take) if is_take else (job.name, None)


def _with_origins(value: Any) -> Any:
    """An item with the results of other jobs as it had them before they were there."""
    if isinstance(value, list):
        return [_with_origins(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "of" in value and "$media" in value:
        return {"$from": value["of"], "use": value["use"]}
    return {name: _with_origins(entry) for name, entry in value.items()}


def _job(job: ExportedJob, media: Destination) -> dict[str, Any]:
    medium = partial(_medium, media=media)
    item = {name: as_written(value, medium) for name, value in _with_origins(job.item).items()}
    documented = fields_beside_extra(job.type)
    extra = {name: value for name, value in item.items() if name not in documented}
    ours = {"labels": dict(job.labels), "extra": extra, "gate": "manual" if job.has_gate else None}
    fields = {name: value for name, value in item.items() if name in documented}
    return {"id": job.name, **fields, **{name: value for name, value in ours.items() if value}}


def _medium(value: Mapping[str, Any], media: Destination) -> str:
    """A medium as a manifest gives it: its address, or the path where it is kept."""
    uri = value.get("uri") or media.uri(media_key(str(value.get("turned_from", value["$media"]))))
    return unquote(urlsplit(uri).path) if uri.startswith("file:") else uri
