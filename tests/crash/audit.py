"""What must hold after every death: the auditor's invariants, our own check of the ledger, and nothing left over."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import Connection, select

from orchestrator.assets.destination import open_destination
from orchestrator.sandbox import Sandbox
from orchestrator.sandbox.records import Settlement
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

    def __init__(self, database: Database, sandbox: Sandbox, home: Path) -> None:
        self._database = database
        self._sandbox = sandbox
        self._auditor = Auditor(read_file=read_object, home=home)

    def after_death(self) -> list[str]:
        """What is wrong right after a process died: nothing may be, whatever it was doing."""
        entries, settlements = self._sandbox.ledger(), self._settlements()
        with self._database.begin() as connection:
            return [*self._auditor.step(connection, entries, settlements), *map(str, audit(connection))]

    def at_rest(self, expected: Mapping[str, str]) -> list[str]:
        """What is wrong in the end, where every job should be in the expected state."""
        entries, settlements = self._sandbox.ledger(), self._settlements()
        with self._database.begin() as connection:
            return [
                *self._auditor.rest(connection, entries, settlements),
                *map(str, audit(connection)),
                *_ended_otherwise(connection, expected),
                *_not_indexed(connection),
            ]

    def _settlements(self) -> list[Settlement]:
        now = time.time()
        return [paid.payment for paid in self._sandbox.payments() if paid.payment.at <= now]


def states(connection: Connection) -> dict[str, str]:
    """The state of every job."""
    return {row.name: row.state for row in connection.execute(select(jobs.c.name, jobs.c.state).order_by(jobs.c.pk))}


def _ended_otherwise(connection: Connection, expected: Mapping[str, str]) -> Iterator[str]:
    found = states(connection)
    with_much_in_doubt = connection.execute(select(holds.c.code).where(holds.c.blocking)).first() is not None
    for name, state in expected.items():
        may_wait = with_much_in_doubt and found.get(name) == "pending"
        if found.get(name) != state and not may_wait:
            yield f"{name} is {found.get(name)}, not {state}"


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
