"""The steps of one worker process, without a hint in between."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_bool
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

import pytest

from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from workers import stopping
from workers.runtime import Runtime

from .celery_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(stopping, "_flag", RawValue(c_bool, False))
    with Sandbox(tmp_path / "sandbox", time_scale=0.001) as sandbox:
        yield make_site(tmp_path, database, database_url, "redis://127.0.0.1:1/0", sandbox, monkeypatch)


def test_a_step_needs_no_hint_at_what_another_one_made_due(site: Site) -> None:
    """Six places for twelve jobs: what is polled makes room to submit, and files to copy."""
    batch_id = site.submit(12)
    runtime = Runtime(patience_seconds=5)
    with ThreadPoolExecutor() as threads:
        one_hint_each = [threads.submit(runtime.work_off, kind) for kind in ("copy", "poll", "submit")]
        moved = [hint.result(timeout=30) for hint in one_hint_each]
    runtime.close()
    assert site.document(batch_id)["jobs"]["completed"] == 12
    assert moved == [{(batch_id, "completed"): 12}] * 3
