"""The package's public names, and what starting imports."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import orchestrator
from orchestrator.cli import front_page
from orchestrator.cli.entry import run

HEAVY = ("psycopg", "sqlalchemy", "boto3", "celery", "aiohttp", "httpx", "redis", "av")
#: What reading the store can do without.
NOT_TO_READ = [
    "alembic",
    "boto3",
    "celery",
    "aiohttp",
    "httpx",
    "redis",
    "av",
    "yaml",
    "jinja2",
    "PIL",
    "eth_account",
    "solders",
    "orchestrator.catalog",
    "orchestrator.receipts",
    "orchestrator.planner",
    "orchestrator.engine",
]


def test_every_public_name_is_there() -> None:
    assert all(getattr(orchestrator, name) is not None for name in orchestrator.__all__)
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert orchestrator.__version__[0].isdigit()
    with pytest.raises(AttributeError):
        _ = orchestrator.nothing


@pytest.mark.parametrize("module", ["orchestrator", "orchestrator.cli", "orchestrator.operations.planning"])
def test_what_starts_fast_imports_nothing_heavy(module: str) -> None:
    assert imported(HEAVY, by=f"import {module}") == "[]"


def test_looking_imports_only_what_reads_the_store() -> None:
    assert imported(NOT_TO_READ, by="import orchestrator.operations.looking") == "[]"


def test_help_imports_no_command() -> None:
    unwanted = (*HEAVY, "typer", "rich", "pydantic", "asyncio", "orchestrator.cli.app")
    printed = imported(unwanted, by="import orchestrator.cli; sys.argv[1:] = ['--help']; orchestrator.cli.main()")
    assert printed == f"{Path(front_page.PAGE).read_text().strip()}\n[]"


def test_the_kept_help_is_what_the_commands_make(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(front_page.COLUMNS))
    assert run(["--help"]) == 0
    assert capsys.readouterr().out == Path(front_page.PAGE).read_text(), "make docs"


@pytest.mark.parametrize(("columns", "is_kept"), [("200", False), (None, True)])
def test_another_width_is_asked_of_the_commands(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, is_kept: bool
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert (front_page.kept_page() is not None) is is_kept


def imported(names: Sequence[str], *, by: str) -> str:
    """Which of these modules some code imports, after whatever it prints."""
    code = f"import sys; {by}; print([name for name in {names} if name in sys.modules])"
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    return result.stdout.strip()
