"""Working batches in this process: the local driver, Ctrl-C, and the word on how it went."""

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.base.errors import Interrupted, SpendRefused
from orchestrator.base.hangup import hang_up
from orchestrator.base.settings import Settings
from orchestrator.base.states import HOLD_EXIT_CODES, BatchState, HoldCode
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.runtime import Engine
from orchestrator.operations.opening import Provider, open_engine
from orchestrator.operations.watching import rest_seconds, watched_document
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database, OutOfReach

if TYPE_CHECKING:
    from orchestrator.operations.monitoring import Monitor

log = logging.getLogger("orchestrator.operations")
#: Whoever sends one of these asks for the end.
_ASKS = (signal.SIGINT, signal.SIGTERM)


class Progress(Protocol):
    """Called with a batch's document while it runs."""

    @property
    def seconds(self) -> float:
        """How far apart documents have to be for each to be shown; infinite: none is."""
        ...

    def __call__(self, document: dict[str, Any], /) -> None: ...


@dataclass(frozen=True, slots=True)
class Duty:
    """Work to be done at one provider, paid by one account."""

    provider: Provider
    scope: Scope


def run_batches(
    settings: Settings,
    database: Database,
    provider: Provider,
    account_pk: int,
    batch_ids: tuple[str, ...] | None,
    progress: Progress | None = None,
) -> None:
    """Work the named batches of one account; see `run_duties`."""
    run_duties(settings, database, [Duty(provider, Scope(account_pk, batch_ids))], progress)


def run_duties(
    settings: Settings,
    database: Database,
    duties: Sequence[Duty],
    progress: Progress | None = None,
    *,
    monitor: "Monitor | None" = None,
) -> None:
    """Work batches in this process until nothing of them runs; all of an account (`batch_ids` None) for ever.

    Each duty has an engine of its own, beside the others. SIGINT, SIGTERM and SIGHUP stop them cleanly: paid requests
    under way get their answers recorded first. Raises Interrupted then. The `monitor` sees the loop move, and hears of
    the stop.
    """
    asyncio.run(_run(settings, database, duties, progress, monitor))


async def _run(
    settings: Settings,
    database: Database,
    duties: Sequence[Duty],
    progress: Progress | None,
    monitor: "Monitor | None",
) -> None:
    async with AsyncExitStack() as stack:
        if monitor is not None:
            stack.enter_context(monitor.watching_loop())
        engines = [
            await stack.enter_async_context(open_engine(settings, database, duty.provider, duty.scope))
            for duty in duties
        ]
        drivers = [LocalDriver(engine) for engine in engines]
        with _StopOnSignal(drivers, monitor) as interrupted:
            reporter = asyncio.create_task(_report(engines, progress)) if progress else None
            try:
                await _drive(drivers, until_idle=all(duty.scope.batch_ids is not None for duty in duties))
            except OutOfReach:
                if not interrupted.is_set():
                    raise
            finally:
                if reporter is not None:
                    reporter.cancel()
                    with suppress(asyncio.CancelledError):
                        await reporter
            if progress and interrupted.is_set():
                with suppress(OutOfReach):
                    await _tell(engines, progress)  # the last one shown is then how it was left
    if interrupted.is_set():
        raise Interrupted("stopped; nothing that was paid for is lost", hint="go on with: orchestrator resume")


async def _drive(drivers: Sequence[LocalDriver], *, until_idle: bool) -> None:
    """Until all are done; where one fails, the others stop cleanly before that is raised."""
    runs = [asyncio.create_task(driver.run(until_idle=until_idle)) for driver in drivers]
    try:
        await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
        for driver in drivers:
            driver.stop()
        await asyncio.gather(*runs, return_exceptions=True)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    for run in runs:
        run.result()


class _StopOnSignal:
    """Turns the first signal to end into a clean stop. A second SIGINT or SIGTERM ends the process as usual; not so a
    SIGHUP: that comes several times when a session is dropped, from the shell and from the kernel.
    """

    def __init__(self, drivers: Sequence[LocalDriver], monitor: "Monitor | None") -> None:
        self._drivers = drivers
        self._monitor = monitor
        self._interrupted = asyncio.Event()
        self._usual = {number: signal.getsignal(number) for number in (*_ASKS, signal.SIGHUP)}

    def __enter__(self) -> asyncio.Event:
        loop = asyncio.get_running_loop()
        with suppress(ValueError, RuntimeError):  # not in the main thread: the host handles signals
            for number in _ASKS:
                loop.add_signal_handler(number, self._stop)
            if self._usual[signal.SIGHUP] is not signal.SIG_IGN:  # nohup: it goes on
                # Not with the loop: that would have it end the process while it takes its own handler away.
                signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(self._stop))
        return self._interrupted

    def __exit__(self, *_: object) -> None:
        self._release()
        if self._interrupted.is_set() and self._usual[signal.SIGHUP] is hang_up:
            self._usual[signal.SIGHUP] = signal.SIG_IGN  # of a command nothing is left to stop
        with suppress(ValueError):
            for number, handler in self._usual.items():
                if handler is not None:  # not of Python's
                    signal.signal(number, handler)

    def _stop(self) -> None:
        if self._interrupted.is_set():
            return
        self._interrupted.set()
        log.warning("stopping: the answers to paid requests are awaited; Ctrl-C again ends at once")
        if self._monitor is not None:
            self._monitor.drain()
        for driver in self._drivers:
            driver.stop()
        self._release()

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _ASKS:
            with suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)


async def _report(engines: Sequence[Engine], progress: Progress) -> None:
    """A document is read no more often than it can be shown: of a large batch it is work for the database.

    Nothing that goes wrong here ends the work: that is being paid for.
    """
    try:
        while True:
            began = time.monotonic()
            await _tell(engines, progress)
            await asyncio.sleep(max(progress.seconds, rest_seconds(time.monotonic() - began)))
    except OutOfReach:
        log.debug("we are stopping, and the database is away: there is nothing to show")
    except Exception:
        log.exception("the progress cannot be shown any more; the work goes on")


async def _tell(engines: Sequence[Engine], progress: Progress) -> None:
    for engine in engines:
        for batch_id in engine.scope.batch_ids or ():
            progress(await engine.transact(watched_document, batch_id))


def exit_code(document: dict[str, Any]) -> int:
    """The exit code that the state of a batch means (interface "Exit codes")."""
    state = BatchState(document["state"])
    if state in (BatchState.COMPLETED, BatchState.RUNNING):
        return 0
    if state is BatchState.PAUSED:
        return SpendRefused.exit_code
    if state is BatchState.HELD:
        held_for = {HoldCode(hold["code"]) for hold in document["holds"]}
        return next((code for hold, code in HOLD_EXIT_CODES.items() if hold in held_for), 3)
    return 1
