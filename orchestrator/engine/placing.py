"""Placing the fetched files of a job: all that blocks, so that it takes one visit to a thread."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.assets.errors import CorruptAsset, DestinationFailed, SpoolFailed
from orchestrator.assets.incoming import Fetched
from orchestrator.assets.keys import KeyFields, render_key, rendition_key
from orchestrator.assets.verify import Kind, Verified, text_file, verify
from orchestrator.engine.runtime import Engine, log
from orchestrator.store.copying import StoredFile
from orchestrator.store.free_claims import ClaimedAsset, ClaimedCopy


@dataclass(frozen=True, slots=True)
class _Whole:
    """A file that is here and whole."""

    asset: ClaimedAsset
    content: bytes | Path
    size_bytes: int
    sha256: str
    verified: Verified


@dataclass(slots=True)
class Placed:
    """What became of files, by the rows of their assets: stored, or kept in the spool (their SHA-256) after a failure.

    What a failed destination left neither stored nor kept has to be fetched again, and so has what is not whole.
    """

    stored: dict[int, StoredFile] = field(default_factory=dict)
    kept: dict[int, str] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)


def spool_name(work: ClaimedCopy, asset: ClaimedAsset) -> str:
    """The name of an asset in the spool. Unique beyond one database: several may share a home."""
    return f"{work.batch_id}-{asset.pk}"


def place(engine: Engine, work: ClaimedCopy, fetched: Sequence[tuple[ClaimedAsset, Fetched]]) -> Placed:
    """Store the files that are whole. Blocks. A fault of ours in one of them, too, is told in `failures`."""
    placed = Placed()
    files: list[_Whole] = []
    for asset, file in fetched:
        try:
            files.append(_examined(engine, work, asset, file))
        except Exception as error:  # noqa: BLE001 - a decoder's surprise, too
            placed.failures.append(error)
    for number, whole in enumerate(files):
        try:
            placed.stored[whole.asset.pk] = _stored(engine, work, whole)
        except DestinationFailed as error:
            placed.failures.append(error)
            placed.kept = _kept(engine, work, files[number:])
            break
        except Exception as error:  # noqa: BLE001 - a fault of ours in one file must not lose the others
            placed.failures.append(error)
    return placed


def _examined(engine: Engine, work: ClaimedCopy, asset: ClaimedAsset, file: Fetched) -> _Whole:
    is_text = asset.content is not None
    verified = text_file(asset.declared_mime) if is_text else _verified(engine, work, asset, file)
    return _Whole(asset, file.content, file.size_bytes, file.hexdigest(), verified)


def _verified(engine: Engine, work: ClaimedCopy, asset: ClaimedAsset, file: Fetched) -> Verified:
    kind: Kind = "video" if asset.kind == "video" else "image"
    try:
        return verify(file.content, kind, asset.declared_mime, engine.spool.memory)
    except CorruptAsset:
        engine.spool.discard(spool_name(work, asset))
        raise


def _stored(engine: Engine, work: ClaimedCopy, file: _Whole) -> StoredFile:
    """Raises DestinationFailed."""
    key, verified = _key(work, file), file.verified
    uri = engine.destination(work.destination).put(
        key,
        file.content,
        sha256=file.sha256,
        content_type=verified.mime_type,
        metadata=_metadata(work),
        may_link=True,
    )
    return StoredFile(
        key=key,
        uri=uri,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        mime_type=verified.mime_type,
        width=verified.width,
        height=verified.height,
        duration_seconds=verified.duration_seconds,
    )


def _kept(engine: Engine, work: ClaimedCopy, files: Sequence[_Whole]) -> dict[int, str]:
    """Let files wait in the spool, whatever becomes of their sources. A text need not: the database has it."""
    kept = {}
    for file in files:
        if file.asset.content is not None:
            continue
        try:
            engine.spool.keep(spool_name(work, file.asset), file.content)
        except SpoolFailed as error:
            log.warning("job %s: a file that cannot be stored cannot wait here either: %s", work.job, error.message)
            continue
        kept[file.asset.pk] = file.sha256
    return kept


def _key(work: ClaimedCopy, file: _Whole) -> str:
    fields = KeyFields(
        name=work.collection,
        batch=work.batch_id,
        job=work.job,
        index=file.asset.position,
        date=f"{work.created_at:%Y-%m-%d}",
        sha256=file.sha256,
        ext=file.verified.ext,
        labels=work.labels,
    )
    return render_key(work.key, fields) if file.asset.role == "original" else rendition_key(fields, file.asset.role)


def _metadata(work: ClaimedCopy) -> dict[str, str]:
    ours = {"collection": work.collection, "job": work.job, "model": work.model}
    return ours | {f"label-{name}": value for name, value in work.labels.items()}
