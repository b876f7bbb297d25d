"""Waiting for answers that cost nothing: no longer than they are worth, and not at all once we are asked to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from orchestrator.engine.runtime import Engine

T = TypeVar("T")
#: How soon a stop is seen.
_LOOK_SECONDS = 0.5


async def free_answer(engine: Engine, question: Coroutine[Any, Any, T], *, seconds: float) -> T:
    """The answer to a question that may be broken off. Raises TimeoutError after `seconds`, or on a stop."""
    loop = asyncio.get_running_loop()
    over_at = loop.time() + seconds
    answer = asyncio.create_task(question)
    try:
        while not answer.done() and not engine.stopping and loop.time() < over_at:
            await asyncio.wait({answer}, timeout=min(_LOOK_SECONDS, over_at - loop.time()))
        if answer.done():
            return answer.result()
        raise TimeoutError
    finally:
        answer.cancel()
