"""Working batches in this process: the local driver, Ctrl-C, and the word on how it went."""

import asyncio
import logging
import signal
from contextlib import suppress
from typing import Any, Protocol

from orchestrator.base.errors import Interrupted, SpendRefused
from orchestrator.base.settings import Settings
from orchestrator.base.states import HOLD_EXIT_CODES, BatchState, HoldCode
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.runtime import Engine
from orchestrator.operations.opening import Provider, open_engine
from orchestrator.store import reads
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database, OutOfReach

log = logging.getLogger("orchestrator.operations")


class Progress(Protocol):
    """Called with a batch's document while it runs."""

    @property
    def seconds(self) -> float:
        """How far apart documents have to be for each to be shown; infinite: none is."""
        ...

    def __call__(self, document: dict[str, Any], /) -> None: ...


def run_batches(
    settings: Settings,
    database: Database,
    provider: Provider,
    account_pk: int,
    batch_ids: tuple[str, ...] | None,
    progress: Progress | None = None,
) -> None:
    """Work the named batches (None: all of the account, for ever) in this process until nothing of them runs.

    SIGINT and SIGTERM stop it cleanly: paid requests under way get their answers recorded first. Raises
    Interrupted then.
    """
    asyncio.run(_run(settings, database, provider, Scope(account_pk, batch_ids), progress))


async def _run(
    settings: Settings, database: Database, provider: Provider, scope: Scope, progress: Progress | None
) -> None:
    async with open_engine(settings, database, provider, scope) as engine:
        driver = LocalDriver(engine)
        with _StopOnSignal(driver) as interrupted:
            reporter = asyncio.create_task(_report(engine, progress)) if progress else None
            try:
                await driver.run(until_idle=scope.batch_ids is not None)
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
                    await _tell(engine, progress)  # the last one shown is then how it was left
    if interrupted.is_set():
        raise Interrupted("stopped; nothing that was paid for is lost", hint="go on with: orchestrator resume")


class _StopOnSignal:
    """Turns the first SIGINT or SIGTERM into a clean stop; a second one ends the process as usual."""

    def __init__(self, driver: LocalDriver) -> None:
        self._driver = driver
        self._interrupted = asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):  # not in the main thread: the host handles signals
                loop.add_signal_handler(number, self._stop)
        return self._interrupted

    def __exit__(self, *_: object) -> None:
        self._release()

    def _stop(self) -> None:
        log.warning("stopping: the answers to paid requests are awaited; Ctrl-C again ends at once")
        self._interrupted.set()
        self._driver.stop()
        self._release()

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)


async def _report(engine: Engine, progress: Progress) -> None:
    """A document is read no more often than it can be shown: of a large batch it is work for the database."""
    while True:
        await _tell(engine, progress)
        await asyncio.sleep(progress.seconds)


async def _tell(engine: Engine, progress: Progress) -> None:
    for batch_id in engine.scope.batch_ids or ():
        progress(await engine.transact(reads.batch_document, batch_id))


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
