"""What the store costs by the number of rows: `python -m benchmarks.store [--rows 10000,100000,1000000]`.

First, planned jobs are stored beside a bare COPY of the same rows into the same table. Then due work is claimed, 100 at
a time, with 100,000 jobs at the provider, by the number of jobs that are due; also after 50,000 of them went through
all their states without a vacuum. CPU is that of this process and of its connection's server process.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import Connection, text

from benchmarks import table
from benchmarks.site import Postgres, postgres, workspace
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
SELECT gen_random_uuid(), 'things-1', :account, 'accepted', 3, repeat('0', 64), gen_random_uuid(), '{}', 0, 0, now(),
       now(), now(), now() - n * interval '1 microsecond'
FROM generate_series(1, :number) AS n
"""
_JOBS = """
INSERT INTO job (batch_id, account_pk, ordinal, name, type, model, item, labels, estimate, fingerprint, state, attempts,
                 copy_failures, due_at, source_expires_at, submission_id, position)
SELECT 'things-1', :account, n, 'job-' || n, 'image', (CAST(:models AS text[]))[1 + mod(n, 3)],
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
    SELECT turned.id, 'things-1', account_pk, 'accepted', 3, '0', turned.id, 0, 0, now(), now(), turned.id, 1
    FROM turned JOIN job USING (pk)
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


def measure_claims(databases: Mapping[int, Database]) -> list[tuple[str, ...]]:
    """Each kind of claim at each size, by turns; then those that have enough are churned, and all is done again."""
    accounts_of = {size: _fill(database, size) for size, database in databases.items()}
    found = claim_all(databases, accounts_of)
    for size, database in databases.items():
        if size > CHURNED:
            _churn(database)
    churned = claim_all(databases, accounts_of)
    rows = []
    for kind in KINDS:
        for title, taken in (("{:,}", found), (f"{{:,}}, {CHURNED:,} of them churned", churned)):
            smallest = taken[kind, min(databases)]
            sizes = [size for size in databases if taken is found or size > CHURNED]
            rows += [_row(kind, title.format(size), taken[kind, size], smallest) for size in sizes]
    return rows


def _row(kind: str, size: str, taken: Taken, smallest: Taken) -> tuple[str, ...]:
    in_ms = [[1_000 * seconds for seconds in each] for each in (taken.cpu_seconds, taken.seconds)]
    ratio = table.ratio(taken.cpu_seconds, smallest.cpu_seconds)
    return (size, kind, table.figure(in_ms[0]), ratio, table.figure(in_ms[1]))


def _claim_submissions(connection: Connection, scope: Scope, lease: Lease) -> int:
    claimed = claims.claim_submissions(connection, scope, lease=lease, limit=CLAIMED, max_in_flight=10_000_000)
    return sum(len(one.jobs) for one in claimed)


def _claim_polls(connection: Connection, scope: Scope, lease: Lease) -> int:
    return len(free_claims.claim_polls(connection, scope, lease=lease, limit=CLAIMED))


def _claim_copies(connection: Connection, scope: Scope, lease: Lease) -> int:
    return len(free_claims.claim_copies(connection, scope, lease=lease, limit=CLAIMED))


KINDS = {"submissions": _claim_submissions, "polls": _claim_polls, "copies": _claim_copies}


def claim_all(databases: Mapping[int, Database], accounts_of: Mapping[int, int]) -> dict[tuple[str, int], Taken]:
    """Claims that are taken back, so that the next one finds the same; by kind and size. The first warms up."""
    found: defaultdict[tuple[str, int], Taken] = defaultdict(Taken)
    for _ in range(1 + CLAIMS):
        for size, database in databases.items():
            for kind, claim in KINDS.items():
                with database.engine.connect() as connection:
                    with found[kind, size].once(connection):
                        assert claim(connection, Scope(accounts_of[size]), Lease(uuid4(), 1, 60)) == CLAIMED
                    connection.rollback()
    for taken in found.values():
        del taken.seconds[0], taken.cpu_seconds[0]
    return found


def _fill(database: Database, size: int) -> int:
    """So many due jobs, and those at the provider and to be copied; returns their account."""
    with database.begin() as connection:
        account = accounts.account_pk(connection, "https://provider.test", "credits:claims")
        creating.create_batch(connection, new_batch(account, 0))
        connection.execute(text("UPDATE batch SET id = 'things-1'"))
    copies = IN_FLIGHT // 10
    _add(database, account, "generating", 0, IN_FLIGHT)
    _add(database, account, "copying", IN_FLIGHT, copies)
    _add(database, account, "pending", IN_FLIGHT + copies, size)
    _vacuum(database)
    return account


def _add(database: Database, account: int, state: str, first: int, number: int) -> None:
    """So many jobs more in a state, past all triggers; those at the provider with their submissions."""
    with database.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        if state == "generating":
            connection.execute(text(_SUBMISSIONS), {"number": number, "account": account})
        span = {"first": first, "last": first + number - 1}
        connection.execute(text(_JOBS), span | {"state": state, "models": list(MODELS), "account": account})
        if state == "generating":
            connection.execute(text(_COUNT))


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
def server() -> Iterator[Postgres]:
    """A server of its own that vacuums nothing by itself."""
    with workspace() as folder, postgres(folder) as started:
        with psycopg.connect(started.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        yield started


@contextmanager
def fresh_database(started: Postgres, name: str) -> Iterator[Database]:
    """A migrated database."""
    with psycopg.connect(started.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    database = Database(started.url.replace("/orchestrator?", f"/{name}?"), actor="benchmark")
    migrate.upgrade(database)
    yield database
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="10000,100000,1000000", help="how many jobs are due, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.rows.split(","))
    with ExitStack() as stack:
        started = stack.enter_context(server())
        stored = table.markdown(HEAD_STORED, store_planned(stack.enter_context(fresh_database(started, "planned"))))
        print(stored, flush=True)
        databases = {size: stack.enter_context(fresh_database(started, f"due_{size}")) for size in sizes}
        claimed = table.markdown(HEAD_CLAIMS, measure_claims(databases))
        print(claimed)
    if options.write:
        table.write("store", f"{stored}\n\n{claimed}")


if __name__ == "__main__":
    main()
