"""One kind of work in this process: due pieces are claimed into free slots until nothing is due."""

import asyncio
from typing import Any

from orchestrator.engine.local import PAYS, Step
from orchestrator.engine.runtime import Engine
from workers import stopping

#: A task claims no longer than this, so that Flower shows progress; the next hint goes on.
_CLAIMING_SECONDS = 60.0
#: How soon a stop is seen while pieces are under way.
_LOOK_SECONDS = 0.25


class Bench:
    """The slots of one step. Used on the engine's event loop only.

    Any number of hints may arrive at once: one of them claims, the others wake it up and are done.
    """

    def __init__(self, engine: Engine, step: Step[Any]) -> None:
        self._engine = engine
        self._step = step
        self._taken = 0
        self._claiming = False
        self._wake = asyncio.Event()

    async def work_off(self) -> None:
        """Claim and do what is due until nothing is; raises what a piece raised, once all pieces are done.

        On a stop, polls and copies are broken off; a paid POST always gets its answer recorded.
        """
        if self._claiming:
            self._wake.set()
            return
        pieces: set[asyncio.Task[None]] = set()
        failures: list[BaseException] = []
        self._claiming = True
        try:
            await self._claim_into(pieces, failures)
        finally:
            self._claiming = False
            await self._finish(pieces, failures)
        if failures:
            raise failures[0]

    async def _claim_into(self, pieces: set[asyncio.Task[None]], failures: list[BaseException]) -> None:
        until = asyncio.get_running_loop().time() + _CLAIMING_SECONDS
        while not stopping.asked() and asyncio.get_running_loop().time() < until:
            self._wake.clear()
            free = self._step.slots - self._taken
            claimed = await self._step.claim(self._engine, free) if free > 0 else ()
            self._taken += len(claimed)
            pieces |= {asyncio.create_task(self._do(piece)) for piece in claimed}
            if not claimed:
                if not pieces:
                    return
                await self._rest(pieces, failures)

    async def _do(self, piece: Any) -> None:
        try:
            await self._step.work(self._engine, piece)
        finally:
            self._taken -= 1

    async def _rest(self, pieces: set[asyncio.Task[None]], failures: list[BaseException]) -> None:
        """Until a piece is done, another hint arrives, or it is time to look whether to stop."""
        hint = asyncio.create_task(self._wake.wait())
        await asyncio.wait({hint, *pieces}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hint.cancel()
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
            await self._rest(pieces, failures)
