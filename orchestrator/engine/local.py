"""Driving the steps in this process until the batches in scope have ended, are held or paused, or a stop is asked for.

Each step has a loop that claims as much as it has free slots for, works on it concurrently, and sleeps until
something is due, something finished, or another step may have made work for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.engine import breaker, copy, paying, poll, reconcile, replay, settle, submit
from orchestrator.engine.runtime import COPY_SLOTS, Engine
from orchestrator.store.due import due_in
from orchestrator.store.settling import any_at_work

W = TypeVar("W")

#: Each step, and the steps for which it may make work when it has done a piece.
MAKES_WORK_FOR = {"submit": ("poll", "replay"), "poll": ("submit", "copy"), "copy": (), "replay": ("submit", "poll")}
#: Steps whose pieces are never broken off: they pay.
PAYS = ("submit", "replay")


@dataclass(frozen=True, slots=True)
class Tempo:
    """How often the driver looks by itself, in seconds."""

    #: Even without a wake-up the store is asked for work this often: other processes make work too.
    ask: float = 2.0
    settle: float = 0.25
    rescue: float = 5.0


@dataclass(frozen=True)
class Step(Generic[W]):
    """One kind of work: how it is claimed, how one piece is done, and how many pieces at once."""

    name: str
    claim: Callable[[Engine, int], Awaitable[Sequence[W]]]
    work: Callable[[Engine, W], Awaitable[None]]
    slots: int


def steps(engine: Engine) -> tuple[Step[Any], ...]:
    """The steps, with as many slots as make sense for each. Direct payments are sent, and sent again, by their own.

    Without the account's keys files can be fetched; polled is then only what carried a payment of its own (guide, "Main
    Generation Endpoint").
    """
    slots = min(engine.limits.max_in_flight, 64)
    polling = Step("poll", poll.claim, poll.ask, slots=64)
    copying = Step("copy", copy.claim, copy.store, slots=COPY_SLOTS)
    if not engine.has_keys:
        return (polling, copying) if engine.payment.is_direct else (copying,)
    if not engine.payment.is_direct:
        return Step("submit", submit.claim, submit.send, slots=slots), polling, copying
    replaying = Step("replay", replay.claim, replay.go_on, slots=8)
    return Step("submit", submit.claim, paying.send, slots=slots), polling, copying, replaying


_USUAL = Tempo()
#: What becomes due, or free, so soon after is claimed with it: one claim for many pieces.
LINGER_SECONDS = 0.01
#: What was due a moment after nothing could be claimed; or another process is just claiming it.
_SHORTEST_SLEEP_SECONDS = 0.02
#: The longest rest while something is due that cannot be taken: nothing tells when it can be.
_LONGEST_RETRY_SECONDS = 0.5


class Rests:
    """How long to let a step with free slots rest that found nothing to do, if nothing wakes it up: until its next work
    is due. Where that is due already and cannot be taken, time after time, twice as long each time.
    """

    def __init__(self, engine: Engine, step: Step[Any]) -> None:
        self._engine = engine
        self._step = step
        self._shortest = _SHORTEST_SLEEP_SECONDS

    def end(self) -> None:
        """Something was found."""
        self._shortest = _SHORTEST_SLEEP_SECONDS

    async def seconds(self, longest: float) -> float:
        """Of the next rest, no more than `longest`."""
        most = self._engine.limits.max_in_flight
        due = await self._engine.transact(due_in, self._engine.scope, self._step.name, max_in_flight=most)
        if due is None:
            return longest
        shortest = self._shortest
        self._shortest = min(2 * shortest, _LONGEST_RETRY_SECONDS) if due <= 0 else _SHORTEST_SLEEP_SECONDS
        return min(max(due, shortest), longest)


class LocalDriver:
    """Runs the steps on the current event loop. `stop()` lets paid POSTs finish and drops the rest."""

    def __init__(self, engine: Engine, tempo: Tempo = _USUAL) -> None:
        self._engine = engine
        self._tempo = tempo
        self._stopping = asyncio.Event()
        self._wakes = {name: asyncio.Event() for name in MAKES_WORK_FOR}

    def stop(self) -> None:
        """Claim and send nothing more; `run` returns once every POST that is under way has its answer recorded."""
        self._engine.stopping = True
        self._stopping.set()

    async def run(self, *, until_idle: bool = True) -> None:
        """Work until nothing in scope is running (`until_idle`), or until `stop`."""
        await settle.rescue_dead(self._engine)
        loops = [asyncio.create_task(self._loop(step)) for step in steps(self._engine)]
        try:
            await self._supervise(loops, until_idle=until_idle)
        finally:
            self._stopping.set()
            ended = await asyncio.gather(*loops, return_exceptions=True)
            await settle.settle(self._engine)
        for result in ended:
            if isinstance(result, BaseException):
                raise result  # a fault of ours: let it be seen, after the other steps came to rest

    async def _supervise(self, loops: list[asyncio.Task[None]], *, until_idle: bool) -> None:
        """Settle often, rescue now and then, and look whether the work is over or a loop broke."""
        rounds_per_rescue = int(self._tempo.rescue / self._tempo.settle)
        rounds = 0
        while not self._stopping.is_set():
            rounds += 1
            if rounds % rounds_per_rescue == 0:
                await settle.rescue_dead(self._engine)
            if await settle.settle(self._engine):
                self._wakes["submit"].set()
            await breaker.probe(self._engine)
            await reconcile.reconcile(self._engine)
            if until_idle and await self._is_idle():
                return
            done, _ = await asyncio.wait(
                [*loops, stop := asyncio.create_task(self._stopping.wait())],
                timeout=self._tempo.settle,
                return_when=asyncio.FIRST_COMPLETED,
            )
            stop.cancel()
            if done & set(loops):
                return  # a loop ends by itself only when something broke

    async def _is_idle(self) -> bool:
        """Whether nothing in scope can move any more, and no reading of the balance is about to settle a doubt."""
        if await self._engine.transact(any_at_work, self._engine.scope):
            return False
        return not await reconcile.is_gathering(self._engine)

    async def _loop(self, step: Step[W]) -> None:
        tasks: set[asyncio.Task[None]] = set()
        wake = self._wakes[step.name]
        rests = Rests(self._engine, step)
        try:
            while not self._stopping.is_set():
                wake.clear()
                claimed = await self._claim(step, step.slots - len(tasks))
                tasks |= {asyncio.create_task(self._work(step, piece)) for piece in claimed}
                if claimed:
                    rests.end()
                else:
                    await self._sleep(step, tasks, rests)
                await asyncio.sleep(LINGER_SECONDS)
                tasks = _going_on(tasks)
        finally:
            await _finish(tasks, abandon=step.name not in PAYS)

    async def _claim(self, step: Step[W], free: int) -> Sequence[W]:
        return await step.claim(self._engine, free) if free > 0 else []

    async def _work(self, step: Step[W], piece: W) -> None:
        try:
            await step.work(self._engine, piece)
        finally:
            for name in MAKES_WORK_FOR[step.name]:
                self._wakes[name].set()

    async def _sleep(self, step: Step[W], tasks: set[asyncio.Task[None]], rests: Rests) -> None:
        """Until a wake-up, a stop, the next due time, or until one of the tasks is done."""
        seconds = self._tempo.ask
        if len(tasks) < step.slots:
            seconds = await rests.seconds(seconds)
        signals = [asyncio.create_task(event.wait()) for event in (self._wakes[step.name], self._stopping)]
        await asyncio.wait([*signals, *tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for signal in signals:
            signal.cancel()


def _going_on(tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """The tasks that still run. Raises what one raised."""
    for task in tasks:
        if task.done():
            task.result()
    return {task for task in tasks if not task.done()}


async def _finish(tasks: set[asyncio.Task[None]], *, abandon: bool) -> None:
    """Wait for the tasks; polls and copies can be broken off at any point, a paid POST never is."""
    if abandon:
        for task in tasks:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
