"""One kind of work in this process: due pieces are claimed into free slots until nothing is due."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

from orchestrator.base.states import JobState
from orchestrator.engine.local import LINGER_SECONDS, PAYS, Rests, Step
from orchestrator.engine.runtime import Engine
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import OutOfReach
from orchestrator.store.free_claims import ClaimedCopy
from orchestrator.store.job_events import job_states
from workers import stopping
from workers.chunks import Moved

#: A task claims no longer than this, so that Flower shows progress; the next hint goes on.
_CLAIMING_SECONDS = 60.0
#: How soon a stop is seen while pieces are under way.
LOOK_SECONDS = 0.25
#: The state that the jobs of a piece are in when it is claimed, or go back to: those it did not move.
_UNMOVED = {
    "submit": JobState.PENDING,
    "poll": JobState.GENERATING,
    "copy": JobState.COPYING,
    "replay": JobState.IN_DOUBT,
}


class Bench:
    """The slots of one step. Used on the engine's event loop only.

    Any number of hints may arrive at once: one of them claims, the others wake it up and are done. That one stays for
    `patience_seconds` with nothing to do: what another step of this process makes due, it sees before a hint comes.
    """

    def __init__(self, engine: Engine, step: Step[Any], *, patience_seconds: float) -> None:
        self._engine = engine
        self._step = step
        self._patience_seconds = patience_seconds
        self._taken = 0
        self._claiming = False
        self._wake = asyncio.Event()
        self._feeds: list[Bench] = []

    def feed(self, other: "Bench") -> None:
        """A piece done here may make work for the other one."""
        self._feeds.append(other)

    def wake(self) -> None:
        """Something may have become due."""
        self._wake.set()

    async def work_off(self) -> Moved:
        """Claim and do what is due until nothing is; raises what a piece raised, once all pieces are done. What became
        of the jobs that were moved.

        On a stop, polls and copies are broken off; a paid POST always gets its answer recorded.
        """
        if self._claiming:
            self._wake.set()
            return {}
        pieces: set[asyncio.Task[None]] = set()
        failures: list[BaseException] = []
        done = _Done()
        self._claiming = True
        try:
            await self._claim_into(pieces, failures, done)
        finally:
            self._claiming = False
            await self._finish(pieces, failures)
        if failures:
            raise failures[0]
        return await self._moved(done)

    async def _claim_into(self, pieces: set[asyncio.Task[None]], failures: list[BaseException], done: "_Done") -> None:
        now = asyncio.get_running_loop().time
        began = busy_at = now()
        rests = Rests(self._engine, self._step)
        while not stopping.asked() and now() < began + _CLAIMING_SECONDS:
            self._wake.clear()
            free = self._step.slots - self._taken
            claimed = await self._step.claim(self._engine, free) if free > 0 else ()
            self._taken += len(claimed)
            for piece in claimed:
                done.add(piece)
            pieces |= {asyncio.create_task(self._do(piece)) for piece in claimed}
            if pieces:
                busy_at = now()
            elif now() >= busy_at + self._patience_seconds:
                return
            if claimed:
                rests.end()
            else:
                seconds = await rests.seconds(LOOK_SECONDS) if free > 0 else LOOK_SECONDS
                await self._rest(pieces, failures, seconds)

    async def _do(self, piece: Any) -> None:
        try:
            await self._step.work(self._engine, piece)
        finally:
            self._taken -= 1
            for bench in self._feeds:
                bench.wake()

    async def _rest(self, pieces: set[asyncio.Task[None]], failures: list[BaseException], seconds: float) -> None:
        """Until a piece is done and a moment longer, another hint arrives, or it is time to look whether to stop."""
        hint = asyncio.create_task(self._wake.wait())
        await asyncio.wait({hint, *pieces}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hint.cancel()
        await asyncio.sleep(LINGER_SECONDS)
        done = {piece for piece in pieces if piece.done()}
        pieces -= done
        failures += [error for piece in done if not piece.cancelled() and (error := piece.exception())]

    async def _finish(self, pieces: set[asyncio.Task[None]], failures: list[BaseException]) -> None:
        may_break_off = self._step.name not in PAYS
        while pieces:
            if stopping.asked() and may_break_off:
                may_break_off = False
                for piece in pieces:
                    piece.cancel()
            await self._rest(pieces, failures, LOOK_SECONDS)

    async def _moved(self, done: "_Done") -> Moved:
        """The jobs of these pieces as they are now, without those that are where they were: for display only."""
        if not done:
            return {}
        with suppress(OutOfReach):
            found = await self._engine.transact(job_states, job_pks=done.job_pks, submission_ids=done.submission_ids)
            return {key: number for key, number in found.items() if key[1] != _UNMOVED[self._step.name]}
        return {}


class _Done:
    """By what the jobs of the pieces can be found again: themselves, or the submission that they are in."""

    def __init__(self) -> None:
        self.job_pks: set[int] = set()
        self.submission_ids: set[UUID] = set()

    def __bool__(self) -> bool:
        return bool(self.job_pks or self.submission_ids)

    def add(self, piece: Any) -> None:
        match piece:
            case ClaimedSubmission(jobs=jobs):  # which they leave where nothing was sent
                self.job_pks.update(job.pk for job in jobs)
            case ClaimedCopy(pk=pk):
                self.job_pks.add(pk)
            case _:
                self.submission_ids.add(piece.id)
