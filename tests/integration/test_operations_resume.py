"""Taking batches up again, and following them through an outage."""

import logging
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import update

from orchestrator.base.errors import Unusable
from orchestrator.operations import running
from orchestrator.operations.database import open_database
from orchestrator.operations.looking import wait
from orchestrator.operations.resuming import resume
from orchestrator.operations.running import run_batches
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.embedded import data_dir
from orchestrator.store.tables import batches

from .engine_site import BATCH, Site, make_site
from .store_rows import account, make_batch

FOREIGN = "others-20261122-0001"


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def test_one_foreign_batch_does_not_stop_the_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    make_batch(site.database, FOREIGN, account_pk=account(site.database, "credits:another"))
    site.make_batch(1)
    with caplog.at_level(logging.WARNING):
        documents = resume(None, site.settings, confirm=lambda ids, _: ids == [BATCH])
    assert [(document["batch"], document["state"]) for document in documents] == [(BATCH, "completed")]
    assert FOREIGN in caplog.text


def test_a_foreign_batch_that_is_named_is_refused(site: Site) -> None:
    make_batch(site.database, FOREIGN, account_pk=account(site.database, "credits:another"))
    with pytest.raises(Unusable, match=FOREIGN):
        resume(FOREIGN, site.settings, confirm=lambda *_: True)


def test_waiting_outlasts_a_killed_database(short_tmp: Path, site: Site) -> None:
    settings = site.settings.model_copy(update={"home": short_tmp, "database_url": None})
    seen: list[str] = []

    class Watching:
        seconds = 0.5

        def __call__(self, document: dict[str, Any], /) -> None:
            seen.append(document["state"])
            if len(seen) == 1:
                pid = int((data_dir(short_tmp) / "postmaster.pid").read_text().split()[0])
                psutil.Process(pid).kill()
            else:
                with other.begin() as connection:
                    connection.execute(update(batches).values(state="paused"))

    with open_database(settings) as other:
        make_batch(other, BATCH)
        assert wait(BATCH, settings, timeout_seconds=30, progress=Watching())["state"] == "paused"
    assert seen == ["running", "running", "paused"]


@pytest.mark.parametrize(("seconds", "most"), [(inf, 1), (0.01, 1000)])
def test_a_batch_is_read_only_as_often_as_it_can_be_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    monkeypatch.setattr(running, "rest_seconds", lambda _: 0.0)  # however slow this machine is
    scope = site.make_batch(4)
    shown: list[str] = []

    class Showing:
        def __init__(self) -> None:
            self.seconds = seconds

        def __call__(self, document: dict[str, Any], /) -> None:
            shown.append(document["state"])

    run_batches(site.settings, site.database, site.provider, scope.account_pk, scope.batch_ids, Showing())
    assert site.document()["state"] == "completed"
    assert most >= len(shown) > most / 200


def test_a_display_that_fails_does_not_end_what_is_paid_for(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        seconds = 0.01

        def __call__(self, document: dict[str, Any], /) -> None:
            raise RuntimeError("nothing can be drawn here")

    scope = site.make_batch(2)
    run_batches(site.settings, site.database, site.provider, scope.account_pk, scope.batch_ids, Failing())
    assert site.document()["state"] == "completed"
    assert "nothing can be drawn here" in caplog.text
