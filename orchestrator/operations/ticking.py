"""The ticker: submits the manifests of schedules whose slots have come, beside whatever pays and polls."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.base.errors import ManifestError, OrchestratorError, SpendRefused, Unusable
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.settings import Settings
from orchestrator.base.states import HoldCode
from orchestrator.operations.database import patiently
from orchestrator.operations.submitting import SecondRun, SubmitOptions, submit
from orchestrator.planner.compare import Comparison
from orchestrator.planner.result import Plan
from orchestrator.store import batches, reads, settling, slots
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.slots import Outcome, Run

log = logging.getLogger("orchestrator.operations")

#: How often it looks for slots that have come.
_LOOK_SECONDS = 2.0
#: A run that met an outage is tried again this often, and given up so long after it was begun.
_RETRY_SECONDS, _GIVE_UP_SECONDS = 60.0, 3600.0
#: How long the end of the process waits for a submission that is under way; the next ticker takes it up again.
_STOP_SECONDS = 30.0
#: So many mistakes of a manifest are told in the message of a run; the others are for `plan`.
_MISTAKES_TOLD = 3


class Ticker:
    """Runs the slots of some accounts' schedules in a thread of its own. Any number of them may run anywhere.

    `beat` is called at each look for slots, and before each one that is run.
    """

    def __init__(
        self, settings: Settings, database: Database, *account_pks: int, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._beat = beat
        self._settings = settings
        self._database = database
        self._account_pks = account_pks
        self._rests_until: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Nothing looks, and nothing beats, where there is no account whose schedules could be run."""
        if self._account_pks:
            self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; returns at once."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until nothing is under way, but not for ever."""
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("a scheduled submission is still under way; the next worker takes it up again")

    def _run(self) -> None:
        """Look until stopped; nothing that goes wrong ends it, as no slot would be run any more, unnoticed."""
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.tick()
            except OutOfReach:
                log.warning("the database is out of reach; looking for schedules again")
                self._database.recover()
            except Exception:
                log.exception("looking for schedules failed; looking again")

    def tick(self) -> None:
        """Run what is due and nobody else runs, one schedule after the other."""
        self._beat()
        with self._database.begin() as connection:
            due = [pk for account_pk in self._account_pks for pk in slots.due(connection, account_pk)]
        for schedule_pk in due:
            if not self._stopped.is_set() and time.monotonic() >= self._rests_until.get(schedule_pk, 0.0):
                self._beat()
                self._rests_until[schedule_pk] = time.monotonic() + _RETRY_SECONDS  # for what raises
                if run_schedule(self._settings, self._database, schedule_pk):
                    del self._rests_until[schedule_pk]


@contextmanager
def ticking(
    settings: Settings, database: Database, *account_pks: int, beat: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """A ticker that runs meanwhile."""
    ticker = Ticker(settings, database, *account_pks, beat=beat)
    ticker.start()
    try:
        yield
    finally:
        ticker.stop()
        ticker.join()


def run_schedule(settings: Settings, database: Database, schedule_pk: int) -> bool:
    """Run what is due of a schedule, unless someone else does; False where it has to be tried again later."""
    with slots.turn(database, schedule_pk) as is_ours:
        while is_ours:
            with database.begin() as connection:
                run = slots.take_up(connection, schedule_pk)
            if run is None:
                return True
            outcome = _run_slot(settings, database, run)
            if outcome is None:
                return False
            patiently(database, partial(slots.finish, run=run, outcome=outcome))
            event = LogEvent.SCHEDULE_FAILED if outcome.state == "failed" else LogEvent.SCHEDULE_RAN
            name = run.schedule.spec.name
            log.info(
                "schedule %s, slot %s: %s",
                name,
                run.slot,
                outcome.message or outcome.state,
                extra=as_event(event, schedule=name, batch=outcome.batch_id, state=outcome.state),
            )
    return True


def _run_slot(settings: Settings, database: Database, run: Run) -> Outcome | None:
    """How the slot's submission went; None where something is in its way that may be over soon."""
    try:
        return outcome_of(_submitted(settings, database, run))
    except OrchestratorError as error:
        return _outcome_of_failure(database, run, error)
    except OSError as error:
        return _outcome_of_failure(database, run, Unusable(str(error)))
    except Exception as error:
        log.exception("schedule %s failed by a fault of ours", run.schedule.spec.name)
        return Outcome("failed", f"a fault of ours ({type(error).__name__}); the log of the worker has its details")


def _outcome_of_failure(database: Database, run: Run, error: OrchestratorError) -> Outcome | None:
    if _may_pass(database, run, error):
        log.warning("schedule %s has to wait, and is tried again: %s", run.schedule.spec.name, error.message)
        return None
    return Outcome("skipped" if isinstance(error, SecondRun) else "failed", _words(error))


def _may_pass(database: Database, run: Run, error: OrchestratorError) -> bool:
    """Whether it may go well in a while: after an outage, or another run that ended just now and is not in the way."""
    if run.age_seconds >= _GIVE_UP_SECONDS:
        return False
    if isinstance(error, SecondRun):
        schedule = run.schedule
        with database.begin() as connection:
            return settling.moving_batch_of(connection, schedule.spec.name, schedule.account_pk) is None
    if isinstance(error, ManifestError):  # what is far away may be there again
        found: Any = error.document["errors"]
        return "://" in run.schedule.spec.manifest and {one["code"] for one in found} == {Code.MANIFEST_UNREADABLE}
    return error.exit_code == Unusable.exit_code


def _submitted(settings: Settings, database: Database, run: Run) -> dict[str, Any]:
    """The document of the slot's batch, made now unless it was made before."""
    with database.begin() as connection:
        batch_id = batches.batch_of_key(connection, run.schedule.account_pk, run.submit_key)
        if batch_id is not None:
            return reads.batch_document(connection, batch_id)
        usual = slots.usual_credits(connection, run.schedule)
    options = SubmitOptions(detach=True, beside_held=True, key=run.submit_key, usual_credits=usual)
    manifest = Path(run.schedule.spec.manifest)
    checked = partial(require_scheduled, name=run.schedule.spec.name)
    return submit(manifest, settings, options, confirm=lambda _: True, announce=checked)


def require_scheduled(comparison: Comparison, *, name: str) -> None:
    """Raises SpendRefused unless the manifest is still the one of the schedule `name`, and has a budget."""
    planned = comparison.plan
    require_budget(planned)
    if planned.name != name:
        raise SpendRefused(
            f"{planned.file} is of the collection {planned.name} now, and was scheduled as {name}: as another one it "
            "would be bought all over",
            hint=f"orchestrator schedule remove {name}, then schedule add it anew",
        )


def require_budget(planned: Plan) -> None:
    """Raises SpendRefused for a manifest without a hard cap: nobody looks while a schedule buys."""
    if planned.budget is None:
        raise SpendRefused(
            f"{planned.file} has no `budget`, and a schedule buys while nobody looks",
            hint="add one to the manifest, such as `budget: {credits: 500}`",
        )


def outcome_of(document: dict[str, Any]) -> Outcome:
    """The outcome of a run that has this batch."""
    unusual = [hold["message"] for hold in document["holds"] if hold["code"] == HoldCode.UNUSUAL_WORK]
    return Outcome(
        "submitted",
        message=f"held: {unusual[0]}" if unusual else None,
        batch_id=document["batch"],
        new_credits=Decimal(document["credits"]["estimated"]),
    )


def _words(error: OrchestratorError) -> str:
    if not isinstance(error, ManifestError):
        return error.message
    found: Any = error.document["errors"]
    told = [Diagnostic(**fields).render("error") for fields in found[:_MISTAKES_TOLD]]
    return f"{error.message}: {'; '.join(told)}"
