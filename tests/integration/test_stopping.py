"""A worker that is asked to stop while its database is away."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import c_bool
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database, OutOfReach
from workers import stopping
from workers.kinds import SETTLE
from workers.runtime import Runtime

from .celery_site import make_site


@contextmanager
def away(database_url: str) -> Iterator[None]:
    """The database lets nobody in."""
    name = make_url(database_url).database
    server = make_url(database_url).set(drivername="postgresql", database="postgres")
    with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_a_stop_ends_the_waiting_for_a_database_that_is_away(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_flag", RawValue(c_bool, False))
    with Sandbox(tmp_path / "sandbox") as sandbox, ThreadPoolExecutor() as threads:
        make_site(tmp_path, database, database_url, "redis://127.0.0.1:1/0", sandbox, monkeypatch)
        runtime = Runtime(patience_seconds=0)
        with away(database_url):
            working = threads.submit(runtime.work_off, SETTLE)
            time.sleep(0.6)
            assert not working.done(), "it waits, in order to go on"
            stopping.ask()
            with pytest.raises(OutOfReach):
                working.result(timeout=10)
            runtime.close()
