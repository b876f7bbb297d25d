"""The engines of this process: one event loop in one thread, made when first needed and so after any fork."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from celery.signals import worker_process_shutdown, worker_shutdown

from orchestrator.base.heartbeats import Loop
from orchestrator.base.settings import load_settings
from orchestrator.engine import breaker
from orchestrator.engine.local import MAKES_WORK_FOR, steps
from orchestrator.engine.reconcile import reconcile
from orchestrator.engine.runtime import Engine
from orchestrator.engine.settle import rescue_dead, settle
from orchestrator.operations.database import open_database
from orchestrator.operations.keyless import worker_providers
from orchestrator.operations.opening import open_engine
from orchestrator.store import settling
from orchestrator.store.accounts import Scope
from orchestrator.store.job_events import stopped_batches
from workers import patience, stopping
from workers.app import app
from workers.bench import LOOK_SECONDS, Bench
from workers.chunks import Moved
from workers.heartbeats import HEARTBEATS
from workers.kinds import KINDS, SETTLE, kinds_of

#: Does what is due of a kind, and tells what it moved.
WorkOff = Callable[[], Awaitable[Moved]]


class Runtime:
    """Works all batches of all accounts that the settings have keys for, each with an engine of its own; in a worker
    that does not submit, of all accounts. Making one returns when they are open.

    A step stays for `patience_seconds` with nothing to do (see Bench). Raises Unusable without a database that can be
    used, or the keys that are needed.
    """

    def __init__(self, *, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._opened: Future[dict[str, WorkOff]] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=[self._live()], name="engine", daemon=True)
        self._thread.start()
        self._work_off = self._opened.result()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        try:
            async with _open_engines() as engines:
                self._opened.set_result(_by_kind(engines, self._patience_seconds))
                beside = [
                    asyncio.create_task(HEARTBEATS.keep(Loop.ENGINE)),
                    asyncio.create_task(_pass_on_stop(engines)),
                ]
                await self._closing.wait()
                for task in beside:
                    task.cancel()
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)  # raised where the runtime is made

    def work_off(self, kind: str) -> Moved:
        """Do what is due of a kind; returns when nothing is. Called by the pool's threads, many at once."""
        return asyncio.run_coroutine_threadsafe(self._awaited(kind), self._loop).result()

    async def _awaited(self, kind: str) -> Moved:
        return await self._work_off[kind]()

    def close(self) -> None:
        """Let go of the engines; what they still have leased is taken up by others at once."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()


@asynccontextmanager
async def _open_engines() -> AsyncIterator[list[Engine]]:
    settings = load_settings()
    async with AsyncExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        with database.begin() as connection:
            providers = worker_providers(settings, connection, submits="submit" in kinds_of(app))
            scopes = [Scope(provider.account_pk(connection)) for provider in providers]
        yield [
            await stack.enter_async_context(open_engine(settings, database, provider, scope))
            for provider, scope in zip(providers, scopes, strict=True)
        ]


async def _pass_on_stop(engines: Sequence[Engine]) -> None:
    """Nothing is sent once a stop is asked for, and nothing waits for a database that is away but an answer to a paid
    request: that one is recorded.
    """
    while not stopping.asked():  # noqa: ASYNC110 - no event: processes share it
        await asyncio.sleep(LOOK_SECONDS)
    for engine in engines:
        engine.stopping = True


def _by_kind(engines: Sequence[Engine], patience_seconds: float) -> dict[str, WorkOff]:
    of_each = [_of_engine(engine, patience_seconds) for engine in engines]
    return {kind: partial(_all, [work_off[kind] for work_off in of_each if kind in work_off]) for kind in KINDS}


def _of_engine(engine: Engine, patience_seconds: float) -> dict[str, WorkOff]:
    """The steps by kind; payments whose answer was lost are sent again by those who submit."""
    benches = {step.name: Bench(engine, step, patience_seconds=patience_seconds) for step in steps(engine)}
    for name, bench in benches.items():
        for fed in MAKES_WORK_FOR[name]:
            if fed in benches:
                bench.feed(benches[fed])
    work_off: dict[str, WorkOff] = {name: bench.work_off for name, bench in benches.items()}
    replay = work_off.pop("replay", None)
    if replay is not None:
        work_off["submit"] = partial(_all, [work_off["submit"], replay])
    return work_off | {SETTLE: partial(_settle, engine, benches.get("submit"))}


async def _all(work_offs: Sequence[WorkOff]) -> Moved:
    """Do all of it beside one another; raises what one raised once all are done."""
    results = await asyncio.gather(*(work_off() for work_off in work_offs), return_exceptions=True)
    moved: Counter[tuple[str, str]] = Counter()
    for result in results:
        if isinstance(result, BaseException):
            raise result
        moved.update(result)
    return moved


async def _settle(engine: Engine, submit: Bench | None) -> Moved:
    """What moved are batches, those that are not running any more."""
    await rescue_dead(engine)
    await breaker.probe(engine)
    await reconcile(engine)
    unsettled = await engine.transact(settling.unsettled_batches, engine.scope)
    if await settle(engine) and submit is not None:
        submit.wake()
    return await engine.transact(stopped_batches, unsettled) if unsettled else {}


_runtime: Runtime | None = None
_making = threading.Lock()


def runtime() -> Runtime:
    """This process's runtime. One that could not be opened is tried anew by the next task."""
    global _runtime
    with _making:
        if _runtime is None:
            _runtime = Runtime(patience_seconds=patience.seconds())
        return _runtime


def close_runtime(**_: Any) -> None:
    """Close the runtime of this process, if it has one."""
    global _runtime
    with _making:
        if _runtime is not None:
            _runtime.close()
            _runtime = None


worker_shutdown.connect(close_runtime)  # the main process, when its pool has stopped
worker_process_shutdown.connect(close_runtime)  # a child of the prefork pool
