"""Group commit: what comes meanwhile is done together, and one that cannot be done takes none of the others with it."""

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.base.errors import Unusable
from orchestrator.engine.group_commit import GroupCommit


class Work:
    """Doubles numbers; a negative one cannot be done."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.has_begun = asyncio.Event()
        self.refuses_all = False

    async def double(self, numbers: list[int]) -> Sequence[int]:
        self.groups.append(numbers)
        self.has_begun.set()
        await asyncio.sleep(0)
        if self.refuses_all:
            raise Unusable("not now")
        if any(number < 0 for number in numbers):
            raise ValueError(min(numbers))
        return [2 * number for number in numbers]


@pytest.fixture
def work() -> Work:
    return Work()


async def test_what_comes_while_a_group_is_done_is_the_next_group(work: Work) -> None:
    commit = GroupCommit(work.double)
    first = asyncio.create_task(commit.add(1))
    await work.has_begun.wait()
    assert await asyncio.gather(*(commit.add(number) for number in (2, 3, 4))) == [4, 6, 8]
    assert (await first, work.groups) == (2, [[1], [2, 3, 4]])
    assert await commit.add(5) == 10


async def test_one_that_cannot_be_done_fails_alone(work: Work) -> None:
    commit = GroupCommit(work.double)
    results = await asyncio.gather(*map(commit.add, (1, -2, 3)), return_exceptions=True)
    assert [results[0], results[2]] == [2, 6]
    assert isinstance(results[1], ValueError)
    assert work.groups == [[1, -2, 3], [1], [-2], [3]]


async def test_what_concerns_all_is_told_to_all_at_once(work: Work) -> None:
    work.refuses_all = True
    results = await asyncio.gather(*map(GroupCommit(work.double).add, (1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [Unusable, Unusable]
    assert work.groups == [[1, 2]]


async def test_who_breaks_off_is_not_waited_for_and_holds_up_nobody(work: Work) -> None:
    commit = GroupCommit(work.double)
    broken_off, other = asyncio.create_task(commit.add(1)), asyncio.create_task(commit.add(2))
    await asyncio.sleep(0)
    broken_off.cancel()
    assert await other == 4
    assert broken_off.cancelled()
