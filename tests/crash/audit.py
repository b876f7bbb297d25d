"""What must hold after every death: the auditor's invariants, our own check of the ledger, and nothing left over."""

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from orchestrator.assets.destination import open_destination
from orchestrator.sandbox.book import Entry
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import assets, batches, holds, jobs

from ..auditor import Auditor


def read_object(uri: str) -> bytes | None:
    """The bytes of a stored file, in a folder or a bucket; None where there is none."""
    folder, _, name = uri.rpartition("/")
    return open_destination(folder).read(name)


class CrashAudit:
    """The audit of one trial: after each death, and once nothing moves any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._auditor = Auditor(read_file=read_object)

    def after_death(self, entries: Sequence[Entry]) -> list[str]:
        """What is wrong right after a process died: nothing may be, whatever it was doing."""
        with self._database.begin() as connection:
            return [*self._auditor.step(connection, entries), *map(str, audit(connection))]

    def at_rest(self, entries: Sequence[Entry], unanswered: set[str]) -> list[str]:
        """What is wrong in the end. `unanswered`: the jobs that a process had sent and died before it wrote it down."""
        with self._database.begin() as connection:
            return [
                *self._auditor.rest(connection, entries),
                *map(str, audit(connection)),
                *_needless_doubt(connection, unanswered),
                *_not_indexed(connection),
            ]


def _needless_doubt(connection: Connection, unanswered: set[str]) -> Iterator[str]:
    """A job is in doubt if and only if its answer was lost; every other job has its result."""
    states = {row.name: row.state for row in connection.execute(select(jobs.c.name, jobs.c.state))}
    in_doubt = {name for name, state in states.items() if state == "in_doubt"}
    if in_doubt != unanswered:
        yield f"in doubt are {sorted(in_doubt)}, without an answer were {sorted(unanswered)}"
    if connection.execute(select(holds.c.code).where(holds.c.blocking)).first():
        return  # with so much in doubt, what was not sent waits
    for name in states.keys() - in_doubt:
        expected = "failed" if name == "failure" else "completed"
        if states[name] != expected:
            yield f"{name} is {states[name]}, not {expected}"


def _not_indexed(connection: Connection) -> Iterator[str]:
    """The index lists the originals of every completed job, and every rendition is stored too."""
    found = connection.execute(
        select(assets.c.uri, assets.c.role, jobs.c.state).join(jobs, jobs.c.pk == assets.c.job_pk)
    )
    files = [row for row in found if row.state == "completed"]
    if not all(row.uri for row in files):
        yield "a rendition was not stored"
    batch = connection.execute(select(batches.c.destination, batches.c.name)).first()
    if batch is None:
        yield "there is no batch"
        return
    index = read_object(f"{batch.destination}/{batch.name}/index.json")
    listed = {asset["uri"] for asset in json.loads(index)["assets"]} if index else set()
    if listed != {row.uri for row in files if row.role == "original"}:
        yield f"the index lists {sorted(listed)}"
