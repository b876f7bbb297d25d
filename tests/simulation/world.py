"""One simulated world: processes that work batches, die and come back, a provider, a network, a disk, a person, and
an auditor who looks after every change."""

import asyncio
import hashlib
import heapq
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from orchestrator.base import faults
from orchestrator.base.payments import Unit
from orchestrator.base.settings import load_settings
from orchestrator.payments.payers import payer_for
from orchestrator.sandbox.intake import Pace

from ..auditor import Auditor
from .control import determined, overheard
from .disk import Disk
from .files import draw
from .incidents import happen, make_all_well
from .network import Network, Weather
from .person import Person
from .process import Process, Surroundings
from .scenario import HOUR, Incident, Scenario
from .setting import EVM_KEY, KEY, SECRET, SVM_KEY, in_unit, make_batches, price_list
from .site import API_ORIGIN, RPC_BASE, RPC_SOLANA, ProviderSite
from .stage import PERSON, WORKERS, Stage, lost_connection
from .tally import Tally, Violated
from .virtual import Killed, VirtualClock, VirtualLoop

#: Nothing of ours takes so many turns; more of them is a loop that spins.
_MAX_TURNS = 400_000
_FROZEN = ("batch", "job", "submission", "ledger", "hold", "asset", "payment")
_SECRETS = (SECRET, EVM_KEY, SVM_KEY)
#: Copies go by way of memory in some worlds, and by way of the spool in the others.
_AMPLE_BYTES = 64 * 1024**2


class World:
    """Runs one scenario from its first batch to its last audit. `trace`: every line of what happened, where wanted."""

    def __init__(self, stage: Stage, scenario: Scenario, folder: Path, *, auditor: Auditor, traced: bool) -> None:
        self.stage = stage
        self.scenario = scenario
        self.dice = random.Random(f"world {scenario.seed}")
        self.clock = VirtualClock()
        self.disk: Disk = Disk(folder)
        self.tally = Tally(simulations=1, batches=len(scenario.batches))
        self.tally.jobs = sum(len(batch.jobs) for batch in scenario.batches)
        self.site = ProviderSite(
            self.clock,
            self.dice,
            folder,
            catalog=price_list(scenario),
            balance=in_unit(scenario.payment, scenario.balance),
            unit="credits" if scenario.payment.unit is Unit.CREDITS else "usdc",
            ways=scenario.ways,
            pace=Pace(scenario.time_scale, scenario.asset_lifetime_seconds),
            rules=tuple(scenario.rules),
        )
        self.weather = Weather(dict(scenario.odds))
        self._settings = load_settings(
            home=folder / "home",
            katana_base_url=API_ORIGIN,
            katana_api_key=KEY,
            katana_api_secret=SECRET,
            evm_private_key=EVM_KEY,
            svm_private_key=SVM_KEY,
            base_rpc_url=RPC_BASE,
            solana_rpc_url=RPC_SOLANA,
            max_in_flight=scenario.max_in_flight,
            copy_memory_bytes=_AMPLE_BYTES if scenario.seed // 4 % 2 else 1,
            database_url=stage.url,
            broker_url="redis://nobody.test",  # so that what a person does leaves the work to the workers
        )
        self.payer = payer_for(self._settings, scenario.payment)
        self.person: Person = Person(self._settings, scenario.payment, stage.auditing, self.site, self.dice)
        self.auditor = auditor
        auditor.read_file, auditor.delivered, auditor.secrets = self.disk.read, self._delivered, _SECRETS
        auditor.home = self._settings.home
        auditor.prices_hold, auditor.bought_again = not scenario.prices, self.person.bought_again
        self.processes: list[Process] = []
        self.is_database_down = self.is_backed_up = self.is_recovering = False
        self.wrong: list[str] = []
        self.trace: list[str] | None = [] if traced else None
        self._digest = hashlib.sha256()
        self._dead: list[Process] = []
        self._timeline: list[tuple[float, int, Callable[[], None]]] = []
        self._happenings = 0
        self._kills_left = scenario.kills
        self._changed = self._calm = False

    # The run.

    def run(self) -> str:
        """Play it to its end and return the digest of everything that happened. Raises Violated."""
        with determined(self.scenario.seed), overheard() as told, self._watching():
            try:
                self._settle_in()
                self._trouble()
                self._calm_down()
                self._look_back()
                if any(secret in "\n".join(told) for secret in _SECRETS):
                    self.wrong.append("I9 secret: the log holds a secret")
                self._stop_if_wrong()
            finally:
                self._tidy_up()
        return self._digest.hexdigest()

    def _settle_in(self) -> None:
        with self.stage.databases[PERSON].begin() as connection:
            scope = make_batches(connection, self.scenario, self.payer, self.disk)
        network = Network(self.site, self.weather, self.dice)
        self._surroundings = Surroundings(
            self.stage, self.clock, network, self._settings, self.payer, scope, self.scenario.tempo
        )

    def _trouble(self) -> None:
        for incident in self.scenario.incidents:
            self.soon(incident.at, partial(self._happen, incident))
        self.start_all()
        self._go_on(2 * self.scenario.patience_seconds)

    def _calm_down(self) -> None:
        """Nothing goes wrong any more, and a person does what the holds ask for: all work ends."""
        self._calm = True
        self._timeline.clear()
        make_all_well(self)
        for wait in (0.0, 0.0, 80 * HOUR):
            self.clock.advance_to(self.clock.monotonic() + wait)
            self.ask_person(self.person.see_to_holds)
            self._work_to_the_end()
        if self.scenario.retries:
            self.ask_person(self.person.retry_failed)
            self._work_to_the_end()
        self.wrong += self.auditor.rest(self.stage.auditing, self.site.entries(), self.site.settlements())
        self._stop_if_wrong()

    def _work_to_the_end(self) -> None:
        patience = self.scenario.patience_seconds
        if not any(process.is_alive for process in self.processes):
            self.start(WORKERS[0])
        if not self._go_on(patience):
            self.wrong.append(f"I4 liveness: work goes on {patience / HOUR:.0f} h after the last fault")
        self._stop_if_wrong()

    def _look_back(self) -> None:
        """I7: to run it all once more changes nothing."""
        before = self._frozen()
        self._work_to_the_end()
        changed = sorted({*before} ^ {*self._frozen()})
        if changed:
            self.wrong.append(f"I7 repeat: running again changed {changed}")
        states = self.stage.auditing.exec_driver_sql(
            "SELECT state FROM batch UNION ALL SELECT 'job ' || state FROM job"
        )
        self.tally.ends.update(str(row[0]) for row in states)
        self.tally.virtual_hours = self.clock.monotonic() / HOUR
        self.tally.mishaps.update(self.site.struck)
        self.tally.mishaps.update({f"person: {verb}": n for verb, n in self.person.done.items()})

    def _go_on(self, seconds: float) -> bool:
        """Turn the loops until every process has ended and nothing is to come; False when the time is over first."""
        until, last_turn = self.clock.monotonic() + seconds, self.tally.turns + _MAX_TURNS
        while any(process.is_alive for process in self.processes) or self._timeline:
            self._stop_if_wrong()
            self.tally.turns += 1
            due = self._next_event()
            if due is None or due[0] > until or self.tally.turns > last_turn:
                return False
            self.clock.advance_to(due[0])
            due[1]()
            self._note_ended()
        return True

    def _next_event(self) -> tuple[float, Callable[[], None]] | None:
        loops = [self.site.loop, *(process.loop for process in self.processes if process.is_alive)]
        events = [(at, loop.turn) for loop in loops if (at := loop.next_event_at()) is not None]
        if self._timeline:
            events.append((self._timeline[0][0], lambda: heapq.heappop(self._timeline)[2]()))
        return min(events, key=lambda found: found[0], default=None)

    def _note_ended(self) -> None:
        for process in [process for process in self.processes if not process.is_alive]:
            self.processes.remove(process)
            self._dead.append(process)
            fault = process.fault()
            if fault is not None:
                self.wrong.append(f"{process.actor} ended with {type(fault).__name__}: {fault}")
                logging.getLogger("simulation").error("%s", fault, exc_info=fault)

    def _stop_if_wrong(self) -> None:
        if self.wrong:
            raise Violated(self.wrong)

    # What incidents do.

    def soon(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen after that much virtual time."""
        self._happenings += 1
        heapq.heappush(self._timeline, (self.clock.monotonic() + seconds, self._happenings, action))

    def start_all(self) -> None:
        for actor in WORKERS[: self.scenario.workers]:
            self.start(actor)

    def start(self, actor: str) -> None:
        """Start a worker process, unless it runs."""
        if not any(process.actor == actor and process.is_alive for process in self.processes):
            self.note(f"{actor} starts")
            self.processes.append(Process(actor, self._surroundings, VirtualLoop(self.clock, self.dice)))

    def kill(self, process: Process) -> None:
        """Kill a worker process; something starts it again before long."""
        self.tally.kills += 1
        self.note(f"{process.actor} is killed")
        process.kill()
        if not self._calm:
            self.soon(self.dice.uniform(0, 2 * self.scenario.restart_seconds), lambda: self.start(process.actor))

    def ask_person(self, action: Callable[[], None]) -> None:
        """A person does something, which takes no time."""
        self.stage.set_clock(self.clock.monotonic())
        action()
        if not self.is_recovering:
            self.audit()

    def audit(self) -> None:
        self.tally.audits += 1
        self.wrong += self.auditor.step(self.stage.auditing, self.site.entries(), self.site.settlements())

    def _happen(self, incident: Incident) -> None:
        self.note(f"incident {incident.kind}")
        self.tally.mishaps[incident.kind] += 1
        happen(self, incident)

    # What the stage and the fault points tell.

    def before_transaction(self) -> None:
        self.stage.set_clock(self.clock.monotonic())
        if self.is_database_down and self._process() is not None:
            raise lost_connection()

    def note_statement(self, actor: str, statement: str, parameters: object) -> None:
        self.tally.statements += 1
        self.note(f"{actor} {statement} {parameters}")

    def note_change(self) -> None:
        self._changed = True

    def note(self, line: str) -> None:
        """Take a line into the digest; the folder is another one each time."""
        line = f"{self.clock.monotonic():.6f} {line}".replace(str(self.disk.folder), "")
        self._digest.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    def _visit(self, name: str) -> None:
        """At each fault point: look, die there, or lose the connection."""
        process = self._process()
        if process is not None and process.loop.is_killed:
            raise Killed
        self.note(f"{process.actor if process else PERSON} at {name}")
        if name == "db.committed" and self._changed and not self.is_recovering:
            self._changed = False
            self.audit()
        if process is None or self._calm or self.wrong:
            return
        if self._kills_left and self.dice.random() < self.scenario.kill_odds:
            self._kills_left -= 1
            self.tally.mishaps[f"killed at {name}"] += 1
            self.kill(process)
            raise Killed
        if name in ("db.commit", "db.committed") and self.dice.random() < self.scenario.commit_odds:
            self.tally.mishaps[f"connection lost at {name}"] += 1
            raise lost_connection()

    def _process(self) -> Process | None:
        loop = asyncio._get_running_loop()
        return next((process for process in (*self.processes, *self._dead) if process.loop is loop), None)

    # The setting.

    def _delivered(self, prompt: str) -> set[str]:
        """The hashes of what the provider made for a prompt; `url` stands in for an original that it does not name."""
        made = [job for request in self.site.book.requests() for job in request.jobs if job.prompt == prompt]
        files = [draw(job, rendition) for job in made if job.output for rendition in ("original", "second", "preview")]
        return {hashlib.sha256(file).hexdigest() for file in files}

    def _frozen(self) -> list[str]:
        found = [f"posts {len(self.site.book.posts())}"]
        for table in _FROZEN:
            rows = self.stage.auditing.exec_driver_sql(f"SELECT t::text FROM {table} AS t ORDER BY 1")
            found += [f"{table} {row[0]}" for row in rows]
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
