"""One manifest submitted by several people at the same moment: it is bought once."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from orchestrator.base.errors import SpendRefused
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import batches, jobs

from .engine_site import Site, make_site

PEOPLE = 4


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def test_of_many_submits_at_once_one_is_stored(site: Site) -> None:
    """All of them have read their manifest, asked for the balance and been told yes before any is stored."""
    job = {"id": "one", "model": "gen", "prompt": "A thing", "aspect_ratio": "1:1"}
    manifest = site.folder / "things.json"
    manifest.write_text(json.dumps({"version": 1, "name": "things", "jobs": [job]}))
    everybody = Barrier(PEOPLE)

    def say_yes(_: object) -> bool:
        everybody.wait(timeout=20)
        return True

    def one_of_them(_: int) -> str:
        try:
            submit(manifest, site.settings, SubmitOptions(detach=True), confirm=say_yes)
        except SpendRefused as refused:
            return refused.message.partition("; ")[2]
        return "stored"

    with ThreadPoolExecutor(PEOPLE) as people:
        ends = Counter(people.map(one_of_them, range(PEOPLE)))
    assert ends == {"stored": 1, "a second run would buy its jobs again": PEOPLE - 1}
    with site.database.begin() as connection:
        counts = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (batches, jobs)]
    assert counts == [1, 1]
