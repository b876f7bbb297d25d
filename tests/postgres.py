"""Databases for tests, on an embedded server that outlives any process but waits for no disk."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.embedded import DATABASE, EmbeddedPostgres

#: What is committed is with the operating system then, and survives every kill. Only a power cut needs the disk: each
#: commit waits some milliseconds for it, most of the time that a test takes.
_NO_DISK = ("fsync = off", "full_page_writes = off")


def wait_for_no_disk(server: EmbeddedPostgres) -> None:
    """Have a server write without syncing from now on."""
    with _admin(server.url) as connection:
        for setting in _NO_DISK:
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")


def make_template(server: EmbeddedPostgres) -> None:
    """Migrate the server's own database, from which `new_database` makes others."""
    wait_for_no_disk(server)
    template = Database(server.url, actor="tests")
    migrate.upgrade(template)
    template.close()


@contextmanager
def new_database(server_url: str, name: str, template: str = DATABASE) -> Iterator[str]:
    """The URL of a database, made from the migrated one (`template0`: from an empty one), and dropped at the end."""
    with _admin(server_url) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield server_url.replace(f"/{DATABASE}?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _admin(server_url: str) -> psycopg.Connection[tuple[object, ...]]:
    address = server_url.replace("+psycopg", "").replace(f"/{DATABASE}?", "/postgres?")
    return psycopg.connect(address, autocommit=True)
