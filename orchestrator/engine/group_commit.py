"""Group commit: what several pieces of work want to write at the same time is written together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from orchestrator.base.errors import Unusable

Item = TypeVar("Item")
R = TypeVar("R")
#: More than this waits for the next group: a transaction stays short.
_MOST = 256
#: So long a group waits for others: a transaction costs as much as some ten of its rows.
_LINGER_SECONDS = 0.005


class GroupCommit(Generic[Item, R]):
    """Does one kind of work on everything that came while the group before was being done, and a moment longer.

    `work` gets a group and returns a result for each. Where it raises, each of the group is done by itself, so that
    one that cannot be done takes none of the others with it; `work` must therefore be one that may run again. Unusable
    concerns all of them.
    """

    def __init__(self, work: Callable[[list[Item]], Awaitable[Sequence[R]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[R]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> R:
        """The result for `item`, once its group is done. Raises what the work raised for it."""
        waiting: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, waiting))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work_off())
        return await waiting

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_LINGER_SECONDS)
                group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._do(group)
        finally:
            self._worker = None

    async def _do(self, group: list[tuple[Item, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([item for item, _ in group])
            told = list(zip(group, results, strict=True))
        except Exception as error:  # noqa: BLE001 - it goes to those that wait
            if len(group) > 1 and not isinstance(error, Unusable):
                for alone in group:
                    await self._do([alone])
                return
            for _, waiting in group:
                if not waiting.done():  # broken off meanwhile
                    waiting.set_exception(error)
        else:
            for (_, waiting), result in told:
                if not waiting.done():
                    waiting.set_result(result)
