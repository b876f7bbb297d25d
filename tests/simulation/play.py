"""Play seeds: one after the other, with what happened and what was wrong."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.store.embedded import EmbeddedPostgres

from ..auditor import Auditor
from ..postgres import make_template, new_database
from .draw import draw_scenario
from .scenario import Scenario
from .stage import Stage
from .tally import Tally, Violated
from .world import World


@dataclass(frozen=True)
class Played:
    """One seed's end: `digest` tells two runs apart that did not do the very same."""

    scenario: Scenario
    tally: Tally
    seconds: float
    digest: str = ""
    wrong: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


def play(stage: Stage, scenario: Scenario | int, *, auditor: Auditor | None = None, traced: bool = False) -> Played:
    """Play one seed, or a scenario made by hand."""
    drawn = draw_scenario(scenario) if isinstance(scenario, int) else scenario
    started = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="ko-sim-", dir=_fast_folder()))
    world = World(stage, drawn, folder, auditor=auditor or Auditor(), traced=traced)
    digest, wrong = "", []
    try:
        digest = world.run()
    except Violated as violated:
        wrong = violated.wrong
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Played(drawn, world.tally, time.perf_counter() - started, digest, wrong, world.trace or [])


def _fast_folder() -> Path | None:
    """Memory where there is some to write to: files are synced to disk at every step."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


@contextmanager
def own_server() -> Iterator[str]:
    """A Postgres of our own with a migrated database in it; its URL."""
    folder = Path(tempfile.mkdtemp(prefix="ko-sim-pg-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder) as server:
            make_template(server)
            yield server.url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_stage(server_url: str, name: str) -> Iterator[Stage]:
    """A database of this name on that server, ready to play on."""
    with new_database(server_url, name) as url:
        stage = Stage(url)
        try:
            yield stage
        finally:
            stage.close()
