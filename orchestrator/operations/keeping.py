"""Keeping the input media of a plan, so that every worker can build the same requests from them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from orchestrator.assets.media import MediaStore
from orchestrator.base.errors import UsageError
from orchestrator.planner.media import MediaFault, read_blob
from orchestrator.planner.result import MediaBlob

_AT_ONCE = 8


def keep_media(store: MediaStore, blobs: Iterable[MediaBlob]) -> None:
    """Keep the bytes of `blobs`, several at once. Raises DestinationFailed, and UsageError where a file has changed."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(partial(_keep, store), blobs):
            pass


def _keep(store: MediaStore, blob: MediaBlob) -> None:
    try:
        if blob.path is not None and blob.turned_from is None:
            store.put_file(blob.sha256, blob.path)
        else:
            store.put_bytes(blob.sha256, read_blob(blob))
            if blob.turned_from is not None and blob.path is not None:
                store.put_file(blob.turned_from, blob.path)  # as it was: what `export` names
    except MediaFault as fault:
        raise UsageError(fault.message, hint="submit again") from None
