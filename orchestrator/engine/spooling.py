"""The spool of an engine: it is asked of the store which of its files nobody waits for any more."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from orchestrator.assets.spool import Spool
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.spooled import unneeded_files

#: As `placing.spool_name` makes them; a row's number has at most 18 digits here, which a bigint holds.
_NAME = re.compile(r"(.+)-(\d{1,18})")


def open_spool(folder: Path, database: Database, *, cap_bytes: int, memory_bytes: int) -> Spool:
    """The spool in `folder`, swept of what a stop left there and another machine completed. Raises SpoolFailed."""
    spool = Spool(
        folder, cap_bytes=cap_bytes, memory_bytes=memory_bytes, find_unneeded=partial(_unneeded_names, database)
    )
    spool.sweep()
    return spool


def _unneeded_names(database: Database, names: Sequence[str]) -> list[str]:
    """What this database does not know stays, since several may share a spool; and all of it while it is away."""
    files = [(match[1], int(match[2])) for name in names if (match := _NAME.fullmatch(name))]
    try:
        with database.begin() as connection:
            return [f"{batch_id}-{asset_pk}" for batch_id, asset_pk in unneeded_files(connection, files)]
    except OutOfReach:
        return []
