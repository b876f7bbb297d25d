"""The package's public names, and what importing costs."""

import subprocess
import sys

import pytest

import orchestrator

HEAVY = ("psycopg", "sqlalchemy", "boto3", "celery", "aiohttp", "httpx", "redis", "av")


def test_every_public_name_is_there() -> None:
    assert all(getattr(orchestrator, name) is not None for name in orchestrator.__all__)
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert orchestrator.__version__[0].isdigit()
    with pytest.raises(AttributeError):
        _ = orchestrator.nothing


@pytest.mark.parametrize("module", ["orchestrator", "orchestrator.cli", "orchestrator.operations.planning"])
def test_what_starts_fast_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
