"""Where processes die and are started again: each trial has its own provider, database, home and destination."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from multiprocessing.process import BaseProcess
from pathlib import Path

from solders.keypair import Keypair
from sqlalchemy import func, or_, select, text

from orchestrator.base.payments import Network, Payment
from orchestrator.base.states import IN_FLIGHT_JOBS, BatchState, JobState
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import batches, jobs, submissions

from ..forked import PRELOADED
from ..postgres import new_database
from . import victim
from .audit import CrashAudit, states
from .victim import Boundary, Errand

Arguments = tuple[str, ...]

SUBMIT: Arguments = ("orchestrator", "submit", "things.json", "--yes", "--json")
RESUME: Arguments = ("orchestrator", "resume", "--yes", "--json")
WORKER: Arguments = ("celery", "-A", "workers", "worker", "--without-mingle", "--without-gossip", "--loglevel=WARNING")

#: Keys of nobody: what an installation has that pays this way.
_KEYS = {
    None: {"KATANA_API_KEY": "key", "KATANA_API_SECRET": "secret"},
    Network.BASE: {"EVM_PRIVATE_KEY": "5a" * 32},
    Network.SOLANA: {"SVM_PRIVATE_KEY": str(Keypair.from_seed(bytes(range(32))))},
}
#: A process that takes longer hangs.
_HANGS_SECONDS = 60.0
#: A worker that found a wallet's charge not listed yet looks again at most so much later.
_LISTED_SECONDS = 90.0
#: A job whose doubt has just ended moves a moment before its batch is said to run again.
_MOVING = {*IN_FLIGHT_JOBS, JobState.COPYING}
#: In half of this there is room for the small files of a job, but for none of its originals: these go to the spool.
_SCANT_MEMORY_BYTES = 20_000
#: What a wallet has at the provider.
_WALLET_USDC = Decimal(1)
#: What is imported where something is signed.
_PAYING = ("orchestrator.payments.evm", "orchestrator.payments.svm", "orchestrator.chain.solana")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([*PRELOADED, *_PAYING, victim.__name__])
_numbers = itertools.count()


@dataclass(frozen=True)
class Things:
    """What a trial makes: the jobs, what becomes of them, and which other job one of them needs."""

    jobs: tuple[dict[str, object], ...]
    results: Mapping[str, str]
    needs: Mapping[str, str] = field(default_factory=dict)
    payment: Payment = Payment.CREDITS

    def manifest(self) -> dict[str, object]:
        paid = {} if self.payment is Payment.CREDITS else {"payment": self.payment}
        return {
            "version": 1,
            "name": "things",
            **paid,
            "budget": {"credits": 40} if self.payment is Payment.CREDITS else {"usd": 1},
            "defaults": {"aspect_ratio": "1:1"},
            "jobs": self.jobs,
        }


#: An image made from a local file, a video, and a job that the provider charges, fails and refunds.
THINGS = Things(
    (
        {"id": "still", "model": "gpt-image-2", "prompt": "A thing", "image_urls": ["input.png"]},
        {"id": "film", "model": "ltx-2-3", "prompt": "A thing that turns", "duration_seconds": 5},
        {"id": "failure", "model": "gen", "prompt": "No thing [sandbox:fail]", "output_format": "png"},
    ),
    {"still": "completed", "film": "completed", "failure": "failed"},
)
#: An image, a video that begins with it, and one that needs what fails.
CHAIN = Things(
    (
        {"id": "still", "model": "gen", "prompt": "A thing", "output_format": "png"},
        {
            "id": "film",
            "model": "ltx-2-3",
            "prompt": "A thing that turns",
            "duration_seconds": 5,
            "video_image_data": {"first_frame_image_url": {"from": "still"}},
        },
        {"id": "failure", "model": "gen", "prompt": "No thing [sandbox:fail]", "output_format": "png"},
        {
            "id": "nothing",
            "model": "gen",
            "prompt": "A thing of no thing",
            "output_format": "png",
            "image_urls": [{"from": "failure"}],
        },
    ),
    {"still": "completed", "film": "completed", "failure": "failed", "nothing": "skipped"},
    needs={"film": "still", "nothing": "failure"},
)
#: What becomes of the usual jobs.
RESULTS = THINGS.results
_INPUT = Path(__file__).parents[1] / "golden" / "media" / "red.png"


@dataclass(frozen=True)
class End:
    """How a process ended. `visits`: how often it reached each boundary, where it was not killed."""

    code: int
    visits: dict[str, int] = field(default_factory=dict)

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Running:
    """A process on an errand."""

    def __init__(self, errand: Errand) -> None:
        self._told, telling = _FORKS.Pipe(duplex=False)
        self._process: BaseProcess = _FORKS.Process(target=victim.run, args=(errand, telling))
        self._process.start()
        telling.close()

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def stop(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, number)

    def end(self) -> End:
        """Wait for its end."""
        visits: dict[str, int] = {}
        try:
            if not self._told.poll(_HANGS_SECONDS):
                self._process.kill()
            visits = self._told.recv()
        except EOFError:
            pass  # killed
        self._process.join()
        ended = End(self._process.exitcode or 0, visits)
        self._told.close()
        self._process.close()
        return ended


class Trial:
    """One installation, in which processes die."""

    def __init__(
        self, folder: Path, sandbox: Sandbox, database_url: str, settings: dict[str, str], things: Things
    ) -> None:
        self._folder = folder
        self._things = things
        self._sandbox = sandbox
        self.database = Database(database_url, actor="tests")
        self._audit = CrashAudit(self.database, sandbox, folder / "home")
        self._environment = dict(os.environ) | {
            "KATANA_BASE_URL": sandbox.base_url,
            "BASE_RPC_URL": f"{sandbox.base_url}/rpc/base",
            "SOLANA_RPC_URL": f"{sandbox.base_url}/rpc/solana",
            **_KEYS[things.payment.network],
            "ORCHESTRATOR_HOME": str(folder / "home"),
            "ORCHESTRATOR_DATABASE_URL": database_url,
            "ORCHESTRATOR_DESTINATION": str(folder / "out"),
            "ORCHESTRATOR_COPY_MEMORY_BYTES": str(_SCANT_MEMORY_BYTES),
            **settings,
        }
        self._unanswered: set[str] = set()
        self._prepared: set[str] = set()
        #: What was found wrong up to now.
        self.wrong: list[str] = []

    def start(self, arguments: Arguments, die_at: Boundary | None = None, sabotage: str | None = None) -> Running:
        places = 1 + len(self._unanswered)  # one at a time, beside those in doubt, which keep their places for long
        environment = self._environment | {"ORCHESTRATOR_MAX_IN_FLIGHT": str(places)}
        return Running(
            Errand(arguments, environment, self._folder, self._folder / "log", die_at=die_at, sabotage=sabotage)
        )

    def run(self, arguments: Arguments, die_at: Boundary | None = None, sabotage: str | None = None) -> End:
        """One command, to its end or its death."""
        ended = self.start(arguments, die_at, sabotage).end()
        if ended.was_killed:
            self._bury()
        return ended

    def work(self, die_at: Boundary | None = None, *, stop_with: signal.Signals = signal.SIGKILL) -> End:
        """A Celery worker, until it dies or has nothing left to do and is stopped."""
        running = self.start(WORKER, die_at)
        until = time.monotonic() + _HANGS_SECONDS + (_LISTED_SECONDS if self._things.payment.is_wallet else 0.0)
        while running.is_alive() and not self._is_at_rest() and time.monotonic() < until:
            time.sleep(0.02)
        is_done = running.is_alive()
        running.stop(stop_with)
        ended = running.end()
        self._bury()
        return replace(ended, code=0) if is_done else ended

    def restart(self) -> End:
        """What a person does after a crash: go on with the batch or, where it was not stored, submit it again."""
        return self.run(self.next_command())

    def next_command(self) -> Arguments:
        with self.database.begin() as connection:
            is_stored = connection.execute(select(func.count()).select_from(batches)).scalar_one()
        return RESUME if is_stored else SUBMIT

    def finish(self, expected: Mapping[str, str] | None = None) -> list[str]:
        """All that was found wrong, after the last audit. `expected`: the states that the jobs should be in.

        A job is in doubt instead if and only if its answer was lost (since the trial was prepared), and nothing else
        tells what became of it. What needs it waits then.
        """
        lost = {name for name in self._unanswered - self._prepared if not self._is_told_otherwise(name)}
        wanted = dict(expected or self._things.results) | dict.fromkeys(lost, "in_doubt")
        wanted |= {name: "waiting" for name, need in self._things.needs.items() if wanted[need] == "in_doubt"}
        return [*self.wrong, *self._audit.at_rest(wanted)]

    def _is_told_otherwise(self, name: str) -> bool:
        """A signed payment is sent again until it is answered; of a wallet's charges there is a list."""
        prompt = next(job["prompt"] for job in self._things.jobs if job["id"] == name)
        is_charged = any(entry.prompt == prompt for entry in self._sandbox.charges())
        return self._things.payment.is_direct or (self._things.payment.is_wallet and is_charged)

    def is_prepared(self) -> None:
        """What has no answer up to now is a part of the situation."""
        self._prepared = set(self._unanswered)

    def states(self) -> dict[str, str]:
        """The state of every job."""
        with self.database.begin() as connection:
            return states(connection)

    def request_ids(self) -> list[str]:
        """The requests that the provider has, in order."""
        return list(dict.fromkeys(entry.request_id for entry in self._sandbox.ledger()))

    def log(self) -> str:
        """What the processes said."""
        log = self._folder / "log"
        return log.read_text() if log.exists() else ""

    def _is_at_rest(self) -> bool:
        """Whether nothing of the batch moves any more, and no list of charges is still to tell of a doubt."""
        with self.database.begin() as connection:
            batch = connection.execute(select(batches.c.state, batches.c.index_due)).one()
            leased = [select(table).where(table.c.lease_token.is_not(None)).exists() for table in (jobs, submissions)]
            is_leased = connection.execute(select(or_(*leased))).scalar_one()
            found = states(connection)
        doubtful = [name for name, state in found.items() if state == JobState.IN_DOUBT]
        is_over = batch.state != BatchState.RUNNING and not batch.index_due and not is_leased
        return is_over and not _MOVING & set(found.values()) and not any(map(self._is_told_otherwise, doubtful))

    def _bury(self) -> None:
        """Wait until Postgres has noticed the death, audit what it left, and note which jobs have no answer.

        A receipt of what became of it is an answer: it leads whoever comes next to the request.
        """
        theirs = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND application_name = 'orchestrator'"
        )
        sent = (
            select(jobs.c.name, submissions.c.id)
            .join(submissions, submissions.c.id == jobs.c.submission_id)
            .where(submissions.c.state == "sent")
        )
        until = time.monotonic() + _HANGS_SECONDS
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while connection.execute(theirs).scalar_one():
                assert time.monotonic() < until, "Postgres still serves a dead process"
                time.sleep(0.005)
            found = connection.execute(sent).all()
        books = all_books(self._folder / "home")
        answered = {slip.submission_id for book in books for slip in book.answers_since(date.min)}
        self._unanswered |= {row.name for row in found if row.id not in answered}
        self.wrong += self._audit.after_death()


@contextmanager
def new_trial(server_url: str, things: Things = THINGS, **settings: str) -> Iterator[Trial]:
    """A trial with a database of its own on a Postgres server, and a provider that is done in no time, but says so only
    to those who ask a second time: how often it is asked must not depend on timing.
    """
    folder = Path(tempfile.mkdtemp(prefix="ko-crash-"))
    shutil.copy(_INPUT, folder / "input.png")
    (folder / "things.json").write_text(json.dumps(things.manifest()))
    try:
        sandbox = Sandbox(folder / "sandbox", time_scale=0.0002, wallet_balance=_WALLET_USDC)
        sandbox.play(Faults.of(FaultRule(at="poll", kind="unknown-status", times=1)))
        with sandbox, new_database(server_url, f"trial_{next(_numbers)}") as url:
            trial = Trial(folder, sandbox, url, settings, things)
            try:
                yield trial
            finally:
                trial.database.close()
    finally:
        shutil.rmtree(folder)
