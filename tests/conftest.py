"""What all tests share: a real Postgres a test process, a fresh database a test, and no environment of the user's."""

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import sqlalchemy
from sqlalchemy import URL, Dialect, Engine

from orchestrator.store import database as database_module
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres

from .postgres import make_template, new_database

_SETTINGS = (
    "KATANA_",
    "ORCHESTRATOR_",
    "CELERY_BROKER_URL",
    "AWS_",
    "EVM_",
    "SVM_",
    "BASE_RPC_",
    "SOLANA_RPC_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)
_numbers = itertools.count()
#: Why a test is left out that must not be in CI, where Redis is installed; other tools it may lack (see .ci/run).
_MUST_BE_IN_CI = "redis-server is not installed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that is left out for want of Redis fails, and says so."""
    report = yield
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if reason.endswith(_MUST_BE_IN_CI):
            report.outcome, report.longrepr = "failed", f"left out in CI: {reason}"
    return report


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the user's reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith(_SETTINGS):
            monkeypatch.delenv(name)


@pytest.fixture
def usual_hangup() -> Iterator[None]:
    """What is started here is not told to ignore SIGHUP, whatever these tests were started under."""
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, inherited)


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority of all there are: reading them takes 20 ms a TLS context, and hardly a test speaks TLS."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    authority = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.write_text(first + end)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", str(authority))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_dialect() -> Iterator[None]:
    """Compile each statement once a test process, and not once an engine: each command under test has one of its own,
    and that was a quarter of what Python computed in tests that submit batches.
    """
    compiled: dict[Any, Any] = {}
    dialects: list[Dialect] = []

    def create_engine(url: URL, **how: Any) -> Engine:
        engine = sqlalchemy.create_engine(url, **how)
        met_the_server = next((dialect for dialect in dialects if dialect.server_version_info), None)
        if met_the_server is None:
            dialects.append(engine.dialect)
        else:
            engine.dialect = met_the_server
        engine.update_execution_options(compiled_cache=compiled)
        return engine

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database_module, "create_engine", create_engine)
        yield


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder with a short path that every user may enter: sockets live in it, and Postgres runs as its own user."""
    folder = Path(tempfile.mkdtemp(prefix="ko-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One embedded server for this test process; its database is the migrated template of every test's own."""
    folder = Path(tempfile.mkdtemp(prefix="ko-pg-"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder) as server:
        make_template(server)
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    with new_database(postgres.url, f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh, migrated database."""
    opened = Database(database_url, actor="tests")
    yield opened
    opened.close()
