"""No room left where files are written: nothing that was paid for is lost, and it goes on once there is room."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.base import faults
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, stall_after=0.5)
    faults.install(None)


def full_at(point: str) -> None:
    """From now on the disk is full wherever this point is reached."""

    def fail(name: str) -> None:
        if name == point:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    faults.install(fail)


@pytest.mark.parametrize("point", ["spool.written", "folder.opened", "folder.written"])
async def test_a_full_disk_holds_the_batch_and_loses_nothing(site: Site, point: str) -> None:
    if point.startswith("spool"):
        site.settings = site.settings.model_copy(update={"copy_memory_bytes": 1})
    else:  # what waits in the spool is not just linked, which takes no room
        site.out.mkdir()
        site.out.chmod(0o2755)
    scope = site.make_batch(3)
    full_at(point)
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 4)
    assert [hold["code"] for hold in document["holds"]] == ["destination-failing"]
    assert "No space left" in document["holds"][0]["message"]
    assert site.states() == ["copying"] * 3
    assert [path for path in site.folder.rglob("*.part") if path.is_file()] == [], "what broke off is cleared away"

    faults.install(None)
    document = await site.resume(scope)
    assert (document["state"], document["credits"]["spent"]) == ("completed", "9")
    assert site.asked("stats")["posts"] == 3
    site.audit()
