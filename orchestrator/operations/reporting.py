"""`report`: a page on which people look at a batch's results, in a file or on S3."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from orchestrator.assets.destination import Destination, has_object, open_destination, open_object, read_object
from orchestrator.assets.errors import DestinationFailed
from orchestrator.assets.links import MAX_LINK_SECONDS, S3Links
from orchestrator.base.clock import rfc3339
from orchestrator.base.errors import Unusable, UsageError
from orchestrator.base.money import unit_word
from orchestrator.base.settings import Settings
from orchestrator.base.states import Decision, JobState
from orchestrator.operations.database import open_database
from orchestrator.operations.deciding import why_not
from orchestrator.report.document import PageJob, ShownFile, by_model, page_document, seconds_text
from orchestrator.report.page import Head, render
from orchestrator.report.thumbnails import FEWEST_PIXELS, thumbnail
from orchestrator.store import batches, job_reads, reads
from orchestrator.store.report_rows import ReportRow, report_rows

__all__ = ["MAX_LINK_SECONDS", "report"]

#: Files that are read, and thumbnails made, at the same time.
_AT_ONCE = 8
_LONGEST_TEXT_BYTES = 20_000


#: Told of how many jobs the files were looked at, and how many jobs there are.
TellLooked = Callable[[int, int], None]


def report(
    reference: str,
    settings: Settings,
    target: str,
    *,
    link_seconds: float | None = None,
    progress: TellLooked = lambda looked, jobs: None,
) -> dict[str, Any]:
    """Write the page of a batch to `target`, a file or s3://bucket/key, its thumbnails beside it in `..._files/`.

    Links to private objects on S3 are signed and live `link_seconds`: at most a week, which None means. The batch may
    still run, and nothing of it changes. The first page of thousands of files takes minutes: `progress` hears how far
    it is. Raises UsageError, Unusable, DestinationFailed.
    """
    place = _place(target)
    link_seconds = MAX_LINK_SECONDS if link_seconds is None else link_seconds
    if not 60 <= link_seconds <= MAX_LINK_SECONDS:
        raise UsageError("links to private objects live from a minute to seven days", hint="--links-for 7d")
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        batch = reads.batch_document(connection, batch_id)
        documents = job_reads.job_documents(connection, batch_id)
        rows = report_rows(connection, batch_id)
        now = reads.now(connection)
    links = _Links(place, batch["destination"], link_seconds, settings.links_endpoint)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        contents = []
        for content in pool.map(lambda document: _contents(place, document, rows[document["id"]]), documents):
            contents.append(content)
            progress(len(contents), len(documents))
    jobs = [
        _shown(document, rows[document["id"]], content, links)
        for document, content in zip(documents, contents, strict=True)
    ]
    shown = [link for job in jobs for file in job.files for link in (file.href, file.thumb) if link]
    page = render(_head(batch, jobs, now, links), page_document(batch_id, jobs), shown)
    uri = place.folder.put_bytes(place.name, page, "text/html; charset=utf-8")
    return {
        "batch": batch_id,
        "page": uri,
        "link": links.of_page(uri),
        "links_end_at": links.end_at,
        "jobs": len(jobs),
        "files": sum(len(job.files) for job in jobs),
        "thumbnails": sum(file.thumb is not None for job in jobs for file in job.files),
        "missing": sum(file.missing for job in jobs for file in job.files),
        "tied": sum(file.href.startswith("file:") for job in jobs for file in job.files),
    }


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the page goes: a folder or prefix, and its name there."""

    folder: Destination
    name: str

    def thumbnail_key(self, sha256: str) -> str:
        return f"{self.name.rsplit('.', 1)[0] or self.name}_files/{sha256[:32]}.webp"


def _place(target: str) -> _Place:
    """Raises UsageError for what cannot be a page's name."""
    if target.startswith("s3://"):
        folder, _, name = target.rpartition("/")
        if not name or folder in ("s3:/", "s3:"):
            raise UsageError(f"{target} names no object", hint="write it as s3://bucket/reports/spring.html")
        return _Place(open_destination(folder), name)
    if "://" in target:
        raise UsageError(f"{target} is neither a file nor s3://", hint="--html report.html")
    path = Path(os.path.normpath(Path(target).expanduser().absolute()))
    if not path.name or target.endswith("/") or path.is_dir():
        raise UsageError(f"{target} is a folder", hint=f"name a file in it: {path / 'report.html'}")
    return _Place(open_destination(str(path.parent)), path.name)


@dataclass(frozen=True, slots=True)
class _Content:
    """What was read of one file: the key of its thumbnail, or what a text says."""

    thumbnail_key: str | None = None
    text: str | None = None
    is_missing: bool = False


def _contents(place: _Place, document: Mapping[str, Any], row: ReportRow) -> list[_Content]:
    return [_content(place, asset, row.thumbnails.get(asset["index"])) for asset in document["assets"]]


def _content(place: _Place, asset: Mapping[str, Any], provided: str | None) -> _Content:
    """Make one file's thumbnail beside the page, unless an earlier report did, and look whether the file is there."""
    if asset["kind"] == "text":
        data = _read(asset["uri"])
        return _Content(is_missing=True) if data is None else _Content(text=_text(data))
    key = place.thumbnail_key(asset["sha256"])
    is_missing = not _is_there(asset["uri"])
    if not _is_made(place, key):
        small = _small(asset, provided)
        if small is None:
            return _Content(is_missing=is_missing)
        place.folder.put_bytes(key, small, "image/webp")
    return _Content(thumbnail_key=key, is_missing=is_missing)


def _is_made(place: _Place, key: str) -> bool:
    """Whether an earlier report made it. S3 does not tell those who may not list what is absent: it is made then."""
    try:
        return place.folder.has(key)
    except DestinationFailed:
        return False


def _small(asset: Mapping[str, Any], provided: str | None) -> bytes | None:
    """A picture of a file: from the provider's own, which is less to read, where that is large enough."""
    small = _thumbnail(provided, "image", at_least_pixels=FEWEST_PIXELS) if provided else None
    return small or _thumbnail(asset["uri"], asset["kind"])


def _thumbnail(uri: str, kind: str, *, at_least_pixels: int = 1) -> bytes | None:
    try:
        file = open_object(uri)
    except (DestinationFailed, Unusable):
        return None  # as in `_read`
    if file is None:
        return None
    with file:
        return thumbnail(file, kind, at_least_pixels=at_least_pixels)


def _is_there(uri: str) -> bool:
    try:
        return has_object(uri)
    except (DestinationFailed, Unusable):
        return False


def _read(uri: str) -> bytes | None:
    """A file that is gone, or cannot be reached now, is told on the page, and keeps no other from being shown."""
    try:
        return read_object(uri)
    except (DestinationFailed, Unusable):
        return None


def _text(data: bytes) -> str:
    text = data[:_LONGEST_TEXT_BYTES].decode(errors="replace")
    return text if len(data) <= _LONGEST_TEXT_BYTES else f"{text}…"


class _Links:
    """How the page leads to files: relative where both can be moved together, else absolute."""

    def __init__(self, place: _Place, destination: str, link_seconds: float, endpoint: str | None) -> None:
        self._folder, self._destination = place.folder.describe(), destination
        self._place = place
        self._seconds, self._endpoint = int(link_seconds), endpoint

    @cached_property
    def _s3(self) -> S3Links:
        return S3Links(self._seconds, self._endpoint)

    @property
    def end_at(self) -> str | None:
        """When the signed links of the page end, at the latest; None where it has none."""
        return rfc3339(self._s3.end_at) if "_s3" in self.__dict__ else None

    @property
    def warning(self) -> str | None:
        """What the page says of that."""
        if self.end_at is None:
            return None
        latest = " at the latest, and with the temporary credentials they are signed with" * self._s3.may_end_sooner
        return f"The links of this page are signed, and end at {self.end_at}{latest}; make it again for new ones."

    def of_file(self, uri: str) -> str:
        """To an original, wherever it is stored."""
        if uri.startswith("s3://"):
            return self._s3.link(uri)
        if not self._folder.startswith("file:"):
            return uri
        page, root, file = (_path(each) for each in (self._folder, self._destination, uri))
        moves_along = file.is_relative_to(page) or (page.is_relative_to(root) and file.is_relative_to(root))
        return _quoted(os.path.relpath(file, page)) if moves_along else uri

    def of_thumbnail(self, key: str) -> str:
        uri = self._place.folder.uri(key)
        return self._s3.link(uri) if uri.startswith("s3://") else _quoted(key)

    def of_page(self, uri: str) -> str:
        """To the page itself."""
        return self._s3.link(uri) if uri.startswith("s3://") else uri


def _path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else Path(uri)


def _quoted(path: str) -> str:
    """A relative path as a link; `./` keeps a colon in its first part from being read as a scheme."""
    return f"./{quote(path)}"


def _shown(document: Mapping[str, Any], row: ReportRow, contents: list[_Content], links: _Links) -> PageJob:
    files = [_file(asset, content, links) for asset, content in zip(document["assets"], contents, strict=True)]
    return PageJob(document, row.item, row.row, row.made_in_seconds, row.ended_at, files, _refused(document, row))


def _refused(document: Mapping[str, Any], row: ReportRow) -> dict[str, str]:
    """The decisions that `review apply` would refuse, with the reason."""
    state = JobState(document["state"])
    found = {decision.value: why_not(decision, state, row.gate, has_item=bool(row.item)) for decision in Decision}
    return {decision: why for decision, why in found.items() if why is not None}


def _file(asset: Mapping[str, Any], content: _Content, links: _Links) -> ShownFile:
    size = f"{asset['width']} × {asset['height']}" if asset["width"] else ""
    length = seconds_text(asset["duration_seconds"])
    weight = f"{max(1, round(asset['bytes'] / 1024)):,} KiB"
    return ShownFile(
        kind=asset["kind"],
        sha256=asset["sha256"],
        href=links.of_file(asset["uri"]),
        about=", ".join(filter(None, (asset["mime_type"], size, length, weight))),
        length=length,
        thumb=None if content.thumbnail_key is None else links.of_thumbnail(content.thumbnail_key),
        text=content.text,
        missing=content.is_missing,
    )


def _head(batch: Mapping[str, Any], jobs: list[PageJob], now: str, links: _Links) -> Head:
    unit = "credits" if batch["usdc"] is None else "usdc"
    amounts = batch[unit]
    budget = "" if amounts["budget"] is None else f" of a budget of {amounts['budget']}"
    counts = [f"{n} {state.replace('_', ' ')}" for state, n in batch["jobs"].items() if n and state != "total"]
    warnings = []
    if batch["sandbox"]:
        warnings.append("These are a sandbox's stand-ins: nothing was spent, and nothing was really made.")
    if batch["finished_at"] is None:
        warnings.append("The batch had not ended when this page was made; make it again to see the rest.")
    if links.warning is not None:
        warnings.append(links.warning)
    facts = [batch["batch"], batch["state"].replace("_", " "), " · ".join(counts)]
    facts += [f"{amounts['spent']} {unit_word(unit)} spent{budget}", f"made {now}"]
    return Head(batch["name"], batch["batch"], facts, warnings, unit_word(unit), by_model(jobs))
