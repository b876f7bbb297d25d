"""What the store costs by the number of rows: `python -m benchmarks.store [--rows 10000,100000,1000000]`.

First, planned jobs are stored beside a bare COPY of the same rows into the same table. Then due work is claimed, 100 at
a time, with 100,000 jobs at the provider, by the number of jobs that are due; also after 50,000 of them went through
all their states without a vacuum. CPU is that of this process and of its connection's server process.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from benchmarks import table
from benchmarks.site import postgres, workspace
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.result import PlannedJob
from orchestrator.store import accounts, claims, creating, free_claims, migrate
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database
from orchestrator.store.leases import Lease
from orchestrator.store.new_batch import JobRow

PLANNED = 100_000
IN_FLIGHT = 100_000
CHURNED = 50_000
CLAIMED = 100
ROUNDS, CLAIMS = 3, 15
MODELS = ("gen", "pixel", "photo")
HEAD_STORED = ("way", "seconds", "to a bare COPY", "CPU seconds")
HEAD_CLAIMS = ("due rows", "claim", "CPU ms", "to the smallest", "ms")
_CHUNK = 1_000

_SUBMISSIONS = """
INSERT INTO submission (id, batch_id, account_pk, state, reserved, body_sha256, request_id, answer, polls,
                        poll_failures, created_at, sent_at, accepted_at, due_at)
SELECT gen_random_uuid(), 'things-1', 1, 'accepted', 3, repeat('0', 64), gen_random_uuid(), '{}', 0, 0, now(), now(),
       now(), now() - n * interval '1 microsecond'
FROM generate_series(1, :number) AS n
"""
_JOBS = """
INSERT INTO job (batch_id, account_pk, ordinal, name, type, model, item, labels, estimate, fingerprint, state, attempts,
                 copy_failures, due_at, source_expires_at, submission_id, position)
SELECT 'things-1', 1, n, 'job-' || n, 'image', (CAST(:models AS text[]))[1 + mod(n, 3)],
       jsonb_build_object('type', 'image', 'model', 'gen', 'prompt', repeat('a prompt of some words ', 8)),
       '{"sku": "1"}', 3, 'fp1:' || md5(n::text) || md5(n::text), :state, 0, 0, now(), now() + interval '1 day',
       submission.id, 0
FROM (
    SELECT n, row_number() OVER () AS number FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
) AS one
LEFT JOIN (SELECT id, row_number() OVER () AS number FROM submission) AS submission
       ON :state <> 'pending' AND submission.number = one.number
"""
_COUNT = """
INSERT INTO in_flight (account_pk, batch_id, model, jobs, submitting)
SELECT account_pk, batch_id, model, count(*), 0 FROM job WHERE state = 'generating' GROUP BY account_pk, batch_id, model
"""
#: Through its states, as its worker would, but all of a chunk at once.
_TURN_OVER = (
    """
    CREATE TEMPORARY TABLE turned ON COMMIT DROP AS
    SELECT pk, gen_random_uuid() AS id FROM job WHERE state = 'pending' ORDER BY due_at, pk LIMIT :chunk
    """,
    """
    INSERT INTO submission (id, batch_id, account_pk, state, reserved, body_sha256, request_id, polls, poll_failures,
                            created_at, due_at, lease_token, lease_owner)
    SELECT id, 'things-1', 1, 'accepted', 3, '0', id, 0, 0, now(), now(), id, 1 FROM turned
    """,
    "UPDATE job SET state = 'submitting', submission_id = turned.id FROM turned WHERE job.pk = turned.pk",
    "UPDATE submission SET lease_token = NULL, lease_owner = NULL FROM turned WHERE submission.id = turned.id",
    "UPDATE job SET state = 'generating' FROM turned WHERE job.pk = turned.pk",
    "UPDATE submission SET lease_token = submission.id, lease_owner = 1 FROM turned WHERE submission.id = turned.id",
    """
    UPDATE job SET state = 'copying', source_expires_at = now() + interval '1 hour' FROM turned
    WHERE job.pk = turned.pk
    """,
    """
    UPDATE submission SET state = 'resolved', lease_token = NULL, lease_owner = NULL FROM turned
    WHERE submission.id = turned.id
    """,
    "UPDATE job SET lease_token = turned.id, lease_owner = 1 FROM turned WHERE job.pk = turned.pk",
    """
    UPDATE job SET state = 'completed', lease_token = NULL, lease_owner = NULL FROM turned WHERE job.pk = turned.pk
    """,
)


@dataclass
class Taken:
    """What something took, once for each time that it was done."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @contextmanager
    def once(self, connection: Connection) -> Iterator[None]:
        """Measures what is done meanwhile, with this connection."""
        driver: Any = connection.connection.driver_connection
        server = Path(f"/proc/{driver.info.backend_pid}/schedstat")  # nanoseconds on a processor come first
        began, cpu, of_server = time.perf_counter(), time.process_time(), int(server.read_text().split()[0])
        yield
        self.seconds.append(time.perf_counter() - began)
        used = (int(server.read_text().split()[0]) - of_server) / 1e9
        self.cpu_seconds.append(time.process_time() - cpu + used)


def new_batch(account_pk: int, number: int) -> creating.NewBatch:
    """A batch of planned images."""
    item = {"type": "image", "model": "gen", "prompt": "a prompt of some words " * 8, "aspect_ratio": "1:1"}
    jobs = [
        PlannedJob(n, f"job-{n}", "image", MODELS[n % 3], item, {"sku": str(n)}, Decimal(3), f"fp1:{n:064}")
        for n in range(number)
    ]
    return creating.NewBatch(
        id="planned", name="planned", sandbox=False, account_pk=account_pk, destination="file:///out", media="/media",
        key="{job}", bundle=1, labels={}, manifest="planned.yaml", catalog=bundled_catalog(), estimated=Decimal(3),
        budget=None, usd_per_credit=Decimal("0.0052"), jobs=jobs,
    )  # fmt: skip


def store_planned(database: Database) -> list[tuple[str, ...]]:
    """The planned jobs and the bare COPY, by turns, each into an empty table."""
    with database.begin() as connection:
        batch = new_batch(accounts.account_pk(connection, "https://provider.test", "credits:test"), PLANNED)
    ours, bare = Taken(), Taken()
    columns = ", ".join(f'"{name}"' for name in JobRow._fields)
    for _ in range(ROUNDS):
        with database.engine.connect() as connection:
            with ours.once(connection):
                creating.create_batch(connection, batch)
                connection.commit()
            cursor: Any = connection.connection.cursor()
            with cursor.copy(f"COPY (SELECT {columns} FROM job ORDER BY pk) TO STDOUT") as rows:
                lines = b"".join(map(bytes, rows))
            connection.execute(text("TRUNCATE job CASCADE"))
            connection.commit()
            with bare.once(connection):
                with cursor.copy(f"COPY job ({columns}) FROM STDIN") as copy:
                    for start in range(0, len(lines), 1 << 16):
                        copy.write(lines[start : start + (1 << 16)])
                connection.commit()
            connection.execute(text("TRUNCATE job, batch CASCADE"))
            connection.commit()
    return [
        (
            name,
            table.figure(taken.seconds, 2),
            table.ratio(taken.seconds, bare.seconds),
            table.figure(taken.cpu_seconds, 2),
        )
        for name, taken in (("a batch is stored", ours), ("a bare COPY", bare))
    ]


def measure_claims(database: Database, sizes: Sequence[int]) -> list[tuple[str, ...]]:
    """Each kind of claim, at each size and after the churn."""
    with database.begin() as connection:
        creating.create_batch(connection, new_batch(accounts.account_pk(connection, "https://p.test", "credits:c"), 0))
        connection.execute(text("UPDATE batch SET id = 'things-1'"))
        account = connection.execute(text("SELECT account_pk FROM batch")).scalar_one()
    found: dict[str, list[tuple[str, Taken]]] = {}
    _add(database, account, "generating", 0, IN_FLIGHT)
    _add(database, account, "copying", IN_FLIGHT, IN_FLIGHT // 10)
    first = IN_FLIGHT + IN_FLIGHT // 10
    there = 0
    for size in sizes:
        _add(database, account, "pending", first + there, size - there)
        there = size
        _vacuum(database)
        for kind, taken in claim_all(database, Scope(account)):
            found.setdefault(kind, []).append((f"{size:,}", taken))
        if size > CHURNED:
            _churn(database)
            there -= CHURNED
            first += CHURNED
            for kind, taken in claim_all(database, Scope(account)):
                found[kind].append((f"{size:,}, {CHURNED:,} of them churned", taken))
    return [
        (
            size,
            kind,
            table.figure([1_000 * cpu for cpu in taken.cpu_seconds]),
            table.ratio(taken.cpu_seconds, rows[0][1].cpu_seconds),
            table.figure([1_000 * seconds for seconds in taken.seconds]),
        )
        for kind, rows in found.items()
        for size, taken in rows
    ]


def claim_all(database: Database, scope: Scope) -> Iterator[tuple[str, Taken]]:
    """Claims that are taken back, so that the next one finds the same."""
    kinds: dict[str, Callable[[Connection], Sequence[Any]]] = {
        "submissions": lambda connection: claims.claim_submissions(
            connection, scope, lease=Lease.new(1, 60), limit=CLAIMED, max_in_flight=10_000_000
        ),
        "polls": lambda connection: free_claims.claim_polls(connection, scope, lease=Lease.new(1, 60), limit=CLAIMED),
        "copies": lambda connection: free_claims.claim_copies(connection, scope, lease=Lease.new(1, 60), limit=CLAIMED),
    }
    for kind, claim in kinds.items():
        taken = Taken()
        for _ in range(CLAIMS):
            with database.engine.connect() as connection:
                with taken.once(connection):
                    assert sum(len(getattr(one, "jobs", (one,))) for one in claim(connection)) == CLAIMED
                connection.rollback()
        yield kind, taken


def _add(database: Database, account: int, state: str, first: int, number: int) -> None:
    """So many jobs more in a state, past all triggers; those at the provider with their submissions."""
    with database.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        if state == "generating":
            connection.execute(text(_SUBMISSIONS), {"number": number})
        span = {"first": first, "last": first + number - 1}
        connection.execute(text(_JOBS), span | {"state": state, "models": list(MODELS)})
        if state == "generating":
            connection.execute(text(_COUNT))
        for name in ("job", "submission"):
            connection.execute(text(f"UPDATE {name} SET account_pk = :account WHERE account_pk <> :account"),
                               {"account": account})  # fmt: skip


def _churn(database: Database) -> None:
    for _ in range(CHURNED // _CHUNK):
        with database.begin() as connection:
            for statement in _TURN_OVER:
                connection.execute(text(statement), {"chunk": _CHUNK} if ":chunk" in statement else {})


def _vacuum(database: Database) -> None:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


@contextmanager
def fresh_database() -> Iterator[Database]:
    """On a server of its own that vacuums nothing by itself."""
    with workspace() as folder, postgres(folder) as server:
        database = Database(server.url, actor="benchmark")
        migrate.upgrade(database)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ALTER SYSTEM SET autovacuum = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        yield database
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="10000,100000,1000000", help="how many jobs are due, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.rows.split(","))
    with fresh_database() as database:
        stored = table.markdown(HEAD_STORED, store_planned(database))
        print(stored, flush=True)
        claimed = table.markdown(HEAD_CLAIMS, measure_claims(database, sizes))
        print(claimed)
    if options.write:
        table.write("store", f"{stored}\n\n{claimed}")


if __name__ == "__main__":
    main()
