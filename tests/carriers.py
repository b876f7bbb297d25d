"""The provider without a network: each request is answered by a function."""

from collections.abc import Callable

from orchestrator.katana.carrier import Request
from orchestrator.katana.verdict import Reply


class Answers:
    """A carrier."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self._answer = answer

    async def carry(self, request: Request) -> Reply:
        if request.phase is not None:
            await request.phase.begin()
            request.phase.end()
        return self._answer(request)

    async def close(self) -> None:
        pass
