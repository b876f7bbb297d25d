"""One simulated world: processes that work batches, die and come back, a provider, a network, a disk, and an auditor
who looks after every change."""

import asyncio
import hashlib
import heapq
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from orchestrator.base import faults
from orchestrator.base.settings import load_settings
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.runtime import Engine
from orchestrator.katana.client import KatanaClient
from orchestrator.operations.opening import make_engine
from orchestrator.payments.credits import payer_of
from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox.accounts import account_name
from orchestrator.sandbox.intake import Pace
from orchestrator.store import accounts, batches, creating
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Connection, OutOfReach

from ..auditor import Auditor, read_local
from .files import draw
from .network import Assets, Network, Transport, Weather
from .scenario import HOUR, BatchDraft, Incident, JobDraft, Scenario
from .site import API_ORIGIN, ProviderSite
from .stage import PERSON, WORKERS, Stage, lost_connection
from .virtual import Killed, VirtualClock, VirtualLoop

KEY, SECRET = "simulated-key-5f1c", "simulated-secret-9a77"
_PAYER = payer_of(KEY, SECRET)
#: Nothing of ours takes so many turns; more of them is a loop that spins.
_MAX_TURNS = 400_000


class Violated(Exception):
    """An invariant does not hold. `wrong` says which and how."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__("; ".join(wrong))
        self.wrong = wrong


@dataclass
class Tally:
    """What happened in one or many simulations."""

    simulations: int = 0
    batches: int = 0
    jobs: int = 0
    audits: int = 0
    kills: int = 0
    mishaps: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    virtual_hours: float = 0.0

    def add(self, other: "Tally") -> None:
        for name in ("simulations", "batches", "jobs", "audits", "kills", "virtual_hours"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.mishaps.update(other.mishaps)
        self.ends.update(other.ends)


class Process:
    """A worker process: its own loop, engine and database connections."""

    def __init__(self, world: "World", actor: str) -> None:
        self.actor = actor
        self.world = world
        self.loop = VirtualLoop(world.clock, world.dice)
        self.loop.set_debug(False)
        self.engine: Engine | None = None
        self._driver: LocalDriver | None = None
        self.task = self.loop.create_task(self._main())

    async def _main(self) -> None:
        world = self.world
        client = KatanaClient(API_ORIGIN, _PAYER.headers, transport=Transport(world.network), clock=world.clock)
        self.engine = make_engine(
            world.settings, world.stage.databases[self.actor], client, Assets(world.network), world.scope, world.clock
        )
        self._driver = LocalDriver(self.engine, world.scenario.tempo)
        try:
            await self._driver.run()
        finally:
            if not self.loop.is_killed:
                self.engine.close()

    @property
    def is_alive(self) -> bool:
        return not self.loop.is_killed and not self.task.done()

    def ask_to_stop(self) -> None:
        if self._driver is not None:
            self.loop.call_soon(self._driver.stop)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, and Postgres sees its sessions end."""
        self.loop.is_killed = True
        self.lose_session()

    def lose_session(self) -> None:
        """Its session ends, and Postgres has noticed."""
        if self.engine is not None:
            session = self.engine._session
            session.close()
            self.world.stage.wait_until_unlocked(session.number)

    def fault(self) -> BaseException | None:
        """What it ended with, where that was not meant."""
        if not self.task.done() or self.task.cancelled():
            return None
        error = self.task.exception()
        return None if isinstance(error, Killed | OutOfReach) else error


class World:
    """Runs one scenario from its first batch to its last audit."""

    def __init__(self, stage: Stage, scenario: Scenario, folder: Path, *, auditor: Auditor | None = None) -> None:
        self.stage = stage
        self.scenario = scenario
        self.folder = folder
        self.dice = random.Random(f"world {scenario.seed}")
        self.clock = VirtualClock()
        self.tally = Tally(simulations=1)
        self.settings = load_settings(
            home=folder / "home",
            katana_base_url=API_ORIGIN,
            katana_api_key=KEY,
            katana_api_secret=SECRET,
            max_in_flight=scenario.max_in_flight,
        )
        self.site = ProviderSite(
            self.clock,
            self.dice,
            folder,
            catalog=bundled_catalog(),
            balance=scenario.balance,
            pace=Pace(scenario.time_scale, scenario.asset_lifetime_seconds),
            rules=tuple(scenario.rules),
        )
        self.weather = Weather(dict(scenario.odds))
        self.network = Network(self.site, self.weather, self.dice)
        self.auditor = auditor or Auditor()
        self.auditor.read_file = self._read_file
        self.auditor.delivered = self._delivered
        self.auditor.secrets = (SECRET,)
        self.processes: list[Process] = []
        self._dead: list[Process] = []
        self._timeline: list[tuple[float, int, Callable[[], None]]] = []
        self._happenings = 0
        self.turns = 0
        self.statements = 0
        self._digest = hashlib.sha256()
        self.trace: list[str] | None = None
        self._changed = False
        self._calm = False
        self._kills_left = scenario.kills
        self._database_down = False
        self.wrong: list[str] = []
        self.scope = Scope(0)

    # What the stage tells.

    def now_in_sql(self) -> str:
        return self.clock.now().isoformat()

    def before_transaction(self) -> None:
        if self._database_down and self._process() is not None:
            raise lost_connection()

    def note_statement(self, actor: str, statement: str, parameters: object) -> None:
        self.statements += 1
        self._note(f"{actor} {statement} {parameters}")

    def note_change(self) -> None:
        self._changed = True

    # The run.

    def run(self) -> str:
        """Play it to its end and return the digest of everything that happened. Raises Violated."""
        with determined(self.scenario.seed), _listening() as told, self._watching():
            try:
                self._make_batches()
                self._trouble()
                self._calm_down()
                self._look_back()
                if SECRET in "\n".join(told):
                    self.wrong.append("I9 secret: the log holds a secret")
                self._stop_if_wrong()
            finally:
                self._tidy_up()
        return self._digest.hexdigest()

    def _trouble(self) -> None:
        for incident in self.scenario.incidents:
            self._at(incident.at, lambda incident=incident: self._happen(incident))
        for actor in WORKERS[: self.scenario.workers]:
            self._start(actor)
        self._go_on(2 * self.scenario.patience_seconds)

    def _calm_down(self) -> None:
        """Nothing goes wrong any more, and a person does what the holds ask for: all work ends."""
        self._calm = True
        self.weather.clear()
        self.site.behave()
        self._timeline.clear()
        self._restore()
        for process in self.processes:
            process.loop.stopped_until = 0.0
        patience = self.scenario.patience_seconds
        for wait in (0.0, 0.0, 80 * HOUR):
            self.clock.advance_to(self.clock.monotonic() + wait)
            self._resume()
            if not any(process.is_alive for process in self.processes):
                self._start(WORKERS[0])
            if not self._go_on(patience):
                self.wrong.append(f"I4 liveness: work goes on {patience / HOUR:.0f} h after the last fault")
                self._stop_if_wrong()
        self.wrong += self.auditor.rest(self.stage.auditing, self.site.entries())
        self._stop_if_wrong()

    def _look_back(self) -> None:
        """I7: to run it all once more changes nothing."""
        before = self._frozen()
        self._start(WORKERS[0])
        self._go_on(self.scenario.patience_seconds)
        after = self._frozen()
        if before != after:
            changed = [f"{a} -> {b}" for a, b in zip(before, after, strict=False) if a != b]
            self.wrong.append(f"I7 repeat: running again changed {changed or (before, after)}")
        rows = self.stage.auditing.exec_driver_sql("SELECT state FROM batch UNION ALL SELECT 'job ' || state FROM job")
        self.tally.ends.update(str(row[0]) for row in rows)
        self.tally.virtual_hours = self.clock.monotonic() / HOUR
        for rule in self.site.provider.faults.document():
            self.tally.mishaps[f"{rule['at']} {rule['kind']}"] += int(str(rule["struck"]))

    def _go_on(self, seconds: float) -> bool:
        """Turn the loops until every process has ended and nothing is to come; False when the time is over first."""
        until = self.clock.monotonic() + seconds
        turns = 0
        while any(process.is_alive for process in self.processes) or self._timeline:
            self._stop_if_wrong()
            turns += 1
            self.turns += 1
            due = self._next_event()
            if due is None or due[0] > until or turns > _MAX_TURNS:
                return False
            self.clock.advance_to(due[0])
            due[1]()
            self._end_processes()
        return True

    def _next_event(self) -> tuple[float, Callable[[], None]] | None:
        loops = [self.site.loop, *(process.loop for process in self.processes if process.is_alive)]
        events = [(at, loop.turn) for loop in loops if (at := loop.next_event_at()) is not None]
        if self._timeline:
            events.append((self._timeline[0][0], lambda: heapq.heappop(self._timeline)[2]()))
        return min(events, key=lambda found: found[0], default=None)

    def _end_processes(self) -> None:
        for process in [process for process in self.processes if not process.is_alive]:
            self.processes.remove(process)
            self._dead.append(process)
            fault = process.fault()
            if fault is not None:
                self.wrong.append(f"{process.actor} ended with {type(fault).__name__}: {fault}")
                logging.getLogger("simulation").error("%s", fault, exc_info=fault)
            if not process.loop.is_killed and process.engine is not None:
                self.stage.wait_until_unlocked(process.engine._session.number)

    def _stop_if_wrong(self) -> None:
        if self.wrong:
            raise Violated(self.wrong)

    # What happens.

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        self._happenings += 1
        heapq.heappush(self._timeline, (seconds, self._happenings, action))

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        self._at(self.clock.monotonic() + seconds, action)

    def _happen(self, incident: Incident) -> None:
        self._note(f"incident {incident.kind}")
        self.tally.mishaps[incident.kind] += 1
        alive = [process for process in self.processes if process.is_alive]
        process = self.dice.choice(alive) if alive else None
        match incident.kind:
            case "kill" if process is not None:
                self._kill(process)
            case "stop" if process is not None:
                process.ask_to_stop()
                self._in(self.scenario.restart_seconds, lambda: self._start(process.actor))
            case "freeze" if process is not None:
                process.loop.stopped_until = self.clock.monotonic() + incident.seconds
            case "session-lost" if process is not None:
                process.lose_session()
            case "provider-down":
                self.weather.is_down = True
                self._in(incident.seconds, self._bring_provider_back)
            case "database-down":
                self._database_down = True
                self._in(incident.seconds, self._bring_database_back)
            case "destination-down":
                self._break_destination()
                self._in(incident.seconds, self._repair_destination)
            case "others-spend":
                self.site.top_up(account_name(KEY, SECRET), -Decimal(self.dice.randrange(1, 20)))

    def _bring_provider_back(self) -> None:
        self.weather.is_down = False

    def _bring_database_back(self) -> None:
        self._database_down = False

    def _restore(self) -> None:
        self._bring_provider_back()
        self._bring_database_back()
        self._repair_destination()
        self.site.top_up(account_name(KEY, SECRET), Decimal(100_000))

    def _break_destination(self) -> None:
        """A file is where the folder was."""
        self._out.mkdir(exist_ok=True)
        if not self._away.exists():
            self._out.rename(self._away)
            self._out.write_text("in the way")

    def _repair_destination(self) -> None:
        if self._away.exists():
            self._out.unlink()
            self._away.rename(self._out)

    def _kill(self, process: Process) -> None:
        self.tally.kills += 1
        self._note(f"{process.actor} is killed")
        process.kill()
        if not self._calm:
            self._in(self.dice.uniform(0, 2 * self.scenario.restart_seconds), lambda: self._start(process.actor))

    def _start(self, actor: str) -> None:
        if not any(process.actor == actor and process.is_alive for process in self.processes):
            self._note(f"{actor} starts")
            self.processes.append(Process(self, actor))

    def _resume(self) -> None:
        """What a person does who reads what the holds say."""
        open_ones = "SELECT id FROM batch WHERE state IN ('held', 'paused') ORDER BY id"
        for (batch_id,) in self.stage.auditing.exec_driver_sql(open_ones).all():
            with self.stage.databases[PERSON].begin() as connection:
                batches.resume_batch(connection, batch_id)

    # What the fault points tell.

    def _visit(self, name: str) -> None:
        process = self._process()
        if process is not None and process.loop.is_killed:
            raise Killed
        self._note(f"{process.actor if process else PERSON} at {name}")
        if name == "db.committed" and self._changed:
            self._changed = False
            self._audit()
        if process is None or self._calm or self.wrong:
            return
        if self._kills_left and self.dice.random() < self.scenario.kill_odds:
            self._kills_left -= 1
            self.tally.mishaps[f"killed at {name}"] += 1
            self._kill(process)
            raise Killed
        if name in ("db.commit", "db.committed") and self.dice.random() < self.scenario.commit_odds:
            self.tally.mishaps[f"connection lost at {name}"] += 1
            raise lost_connection()

    def _audit(self) -> None:
        self.tally.audits += 1
        self.wrong += self.auditor.step(self.stage.auditing, self.site.entries())

    def _process(self) -> Process | None:
        loop = asyncio._get_running_loop()
        known = (*self.processes, *self._dead)
        return next((process for process in known if process.loop is loop), None)

    def _note(self, line: str) -> None:
        line = f"{self.clock.monotonic():.6f} {line}".replace(str(self.folder), "")  # which is another one each time
        self._digest.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    # The setting.

    @property
    def _out(self) -> Path:
        return self.folder / "out"

    @property
    def _away(self) -> Path:
        return self.folder / "out.away"

    def _make_batches(self) -> None:
        with self.stage.databases[PERSON].begin() as connection:
            account_pk = accounts.account_pk(connection, API_ORIGIN, _PAYER.account)
            ids = [self._make_batch(connection, account_pk, n, draft) for n, draft in enumerate(self.scenario.batches)]
        self.scope = Scope(account_pk, tuple(ids))

    def _make_batch(self, connection: Connection, account_pk: int, number: int, draft: BatchDraft) -> str:
        self.tally.batches += 1
        self.tally.jobs += len(draft.jobs)
        batch_id = f"things-20261122-{number:04}"
        creating.create_batch(
            connection,
            creating.NewBatch(
                id=batch_id,
                name=f"things-{number}",
                sandbox=False,
                account_pk=account_pk,
                destination=self._out.as_uri(),
                media=str(self.folder / "media"),
                key="{name}/{job}/{index}-{sha8}{ext}",
                bundle=draft.bundle,
                labels={},
                manifest="things.yaml",
                catalog=bundled_catalog(),
                estimated=draft.estimate,
                budget=draft.budget,
                usd_per_credit=Decimal("0.0052"),
                jobs=[_planned(n, job) for n, job in enumerate(draft.jobs)],
            ),
        )
        return batch_id

    def _read_file(self, uri: str) -> bytes | None:
        """Also where the folder was moved away: the file is safe, it just cannot be reached."""
        return read_local(uri) or read_local(uri.replace(self._out.as_uri(), self._away.as_uri()))

    def _delivered(self, prompt: str) -> str | None:
        for request in self.site.book.requests():
            for job in request.jobs:
                if job.prompt == prompt and job.output is not None:
                    return hashlib.sha256(draw(job, "original")).hexdigest()
        return None

    def _frozen(self) -> list[str]:
        found = [f"posts {len(self.site.book.posts())}"]
        for table in ("batch", "job", "submission", "ledger", "hold", "asset"):
            query = f"SELECT t::text FROM {table} AS t ORDER BY 1"
            found += [str(row[0]) for row in self.stage.auditing.exec_driver_sql(query)]
        return found

    @contextmanager
    def _watching(self) -> Iterator[None]:
        self.stage.reset()
        faults.install(self._visit)
        try:
            with self.stage.watched_by(self):
                yield
        finally:
            faults.install(None)

    def _tidy_up(self) -> None:
        for process in self.processes:
            if process.is_alive:
                process.kill()
        for process in (*self.processes, *self._dead):
            process.loop.bury()
        self.site.close()


def _planned(ordinal: int, job: JobDraft) -> PlannedJob:
    item: dict[str, Any] = {"model": job.model, "prompt": job.prompt, "aspect_ratio": "1:1"}
    if job.seconds is None:
        item |= {"type": "image", "output_format": "png"}
    else:
        item |= {"type": "video", "duration_seconds": job.seconds}
    return PlannedJob(ordinal, f"job-{ordinal}", item["type"], job.model, item, {}, job.credits)


@contextmanager
def determined(seed: int) -> Iterator[None]:
    """Every source of randomness gives what the seed says: jitter, and the ids that are drawn as uuid4."""
    state = random.getstate()
    with ExitStack() as stack:
        stack.callback(random.setstate, state)
        stack.enter_context(mock.patch("os.urandom", random.Random(f"ids {seed}").randbytes))
        random.seed(f"jitter {seed}")
        yield


@contextmanager
def _listening() -> Iterator[list[str]]:
    """The lines that are logged; nothing of it is shown."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("orchestrator")
    before = logger.propagate, logger.level
    logger.propagate, logger.level = False, logging.INFO
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before
