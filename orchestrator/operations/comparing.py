"""What a plan's collection has already: looked up, and looked after, before anything is bought."""

import logging
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.errors import DestinationFailed
from orchestrator.assets.keys import INDEX_NAMES, index_key
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import Provider, provider_for
from orchestrator.operations.planning import require_valid
from orchestrator.payments.payers import configured_payments
from orchestrator.planner.compare import Comparison, compare
from orchestrator.planner.result import Plan
from orchestrator.planner.standing import Standing
from orchestrator.store import collections
from orchestrator.store.collections import KeptFile, Shelf
from orchestrator.store.database import Database
from orchestrator.store.references import references

log = logging.getLogger("orchestrator.operations")

#: Objects that are looked for at the same time.
_LOOKING = 32

#: A past job (by row) and the role of a file of it.
_File = tuple[int, str]


def compare_with_collection(planned: Plan, settings: Settings) -> Comparison:
    """How a plan compares with what the account that is to pay has; without its key, with what sandboxes made.

    Spends and stores nothing. Raises ManifestError for a plan that is invalid, or buys more than its budget allows;
    Unusable where the database is, DestinationFailed where a destination is.
    """
    if not planned.only_over_budget:
        require_valid(planned)
    is_configured = planned.payment in configured_payments(settings)
    provider = provider_for(settings, planned.payment) if is_configured else None
    destination = open_destination(planned.destination or settings.destination).describe()
    with open_database(settings) as database:
        shelf = find_shelf(database, planned, provider)
        comparison = compare_plan(database, planned, shelf, destination)
    require_valid(comparison.bought())
    return comparison


def find_shelf(database: Database, planned: Plan, provider: Provider | None) -> Shelf:
    """Where the plan's results may be already (None: made by sandboxes)."""
    with database.begin() as connection:
        account_pk = None if provider is None else provider.account_pk(connection)
        return Shelf(str(planned.name), account_pk, everywhere=planned.reuse == "all")


def compare_plan(
    database: Database, planned: Plan, shelf: Shelf, destination: str, *, again: Collection[str] | None = ()
) -> Comparison:
    """What of a plan is on the shelf, with every file that is to be reused found where it should be.

    The jobs named in `again` (None: all of them) are bought whatever there is. Raises DestinationFailed where a
    destination does not tell what it has, or has lost all of it: what may be there is not bought again.
    """
    if planned.reuse == "none":
        again = None
    wanted = {job.fingerprint for job in planned.jobs if job.fingerprint is not None}
    gated = {job.fingerprint for job in planned.jobs if job.has_gate and job.fingerprint is not None}
    with database.begin() as connection:
        history = collections.history(connection, shelf, wanted, destination, gated=gated)
    looked_for: set[_File] = set()
    missing: set[int] = set()
    doubtful, sound = {destination}, set[str]()
    while True:
        comparison = compare(planned, history, missing=missing, again=again)
        new = _files_of(comparison) - looked_for
        if not new:
            break
        there, gone = _look_for_files(database, new)
        looked_for |= new
        has_original = {file.job_pk for file in there if file.role == "original"}
        missing |= {pk for pk, role in new if role == "original"} - has_original
        missing |= {file.job_pk for file in gone}
        doubtful |= {file.destination for file in gone}
        sound |= {file.destination for file in there}
    if again is not None and shelf.account_pk is not None:  # what sandboxes make costs nothing
        for uri in sorted(doubtful - sound):
            _require_not_emptied(database, shelf, uri)
    return comparison


def _files_of(comparison: Comparison) -> set[_File]:
    """What has to be there of the jobs that are reused: their originals, and the final frames to be gone on from."""
    bought = (verdict.job.item for verdict in comparison.verdicts if verdict.is_bought)
    gone_on_from = {needed for item in bought for needed, role in references(item) if role == "final_frame"}
    reused = [(v.job.id, v.source.pk) for v in comparison.verdicts if v.standing is Standing.REUSED and v.source]
    return {(pk, "original") for _, pk in reused} | {(pk, "final_frame") for name, pk in reused if name in gone_on_from}


def _look_for_files(database: Database, wanted: set[_File]) -> tuple[list[KeptFile], list[KeptFile]]:
    """Of the stored files that are wanted, those that are there with the content that was stored, and the others."""
    with database.begin() as connection:
        kept = collections.kept_files(connection, {pk for pk, _ in wanted})
    files = [file for file in kept if (file.job_pk, file.role) in wanted]
    open_once = cache(open_destination)
    with ThreadPoolExecutor(_LOOKING) as pool:
        there = list(pool.map(lambda file: open_once(file.destination).holds(file.key, file.sha256), files))
    told = list(zip(files, there, strict=True))
    return [file for file, is_there in told if is_there], [file for file, is_there in told if not is_there]


def _require_not_emptied(database: Database, shelf: Shelf, uri: str) -> None:
    """Raises DestinationFailed where nothing of what was stored is found, not even the index: likelier it is not
    mounted than lost.
    """
    destination = open_destination(uri)
    if destination.read(index_key(shelf.name, INDEX_NAMES[0])) is not None:
        return
    with database.begin() as connection:
        files = collections.newest_files(connection, shelf, uri)
    if files and not any(destination.holds(file.key, file.sha256) for file in files):
        raise DestinationFailed(
            f"nothing of what {shelf.name} has stored in {uri} is found there any more; nothing was bought",
            hint="mount or restore it and submit again; or, to pay for all of it again: --again",
        )


def bring_here(database: Database, comparison: Comparison, destination: Destination) -> dict[int, str]:
    """Copy what is reused from other destinations into this one; returns the new URI of each such asset (by row)."""
    here = destination.describe()
    elsewhere = {past.pk for past in comparison.reused.values() if past.destination != here}
    if not elsewhere:
        return {}
    with database.begin() as connection:
        files = collections.kept_files(connection, elsewhere)
    log.info("copying %s files to %s", len(files), here)
    with ThreadPoolExecutor(_LOOKING) as pool:
        copied = zip(files, pool.map(lambda file: _copy(file, destination), files), strict=True)
        return {file.asset_pk: uri for file, uri in copied if uri is not None}


def _copy(file: KeptFile, destination: Destination) -> str | None:
    """The new URI of a file; None for a final frame that is gone, and that nothing bought now goes on from."""
    data = open_destination(file.destination).read(file.key)
    if data is None and file.role == "final_frame":
        return None
    with tempfile.NamedTemporaryFile() as part:
        part.write(data or b"")
        part.flush()
        return destination.put(file.key, Path(part.name), sha256=file.sha256, content_type=file.mime_type, metadata={})
