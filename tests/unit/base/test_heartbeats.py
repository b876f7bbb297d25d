"""Loops that stop moving are seen, whatever else the process does."""

import asyncio

from orchestrator.base.heartbeats import Heartbeats, Loop


def test_a_loop_that_does_not_move_is_stuck_and_one_that_ended_is_not() -> None:
    now = 0.0
    heartbeats = Heartbeats(lambda: now)
    for loop in Loop:
        heartbeats.beat(loop)
    now = 60.0
    assert heartbeats.stuck() == []
    assert heartbeats.ages() == dict.fromkeys(Loop, 60.0)
    now = 200.0
    assert heartbeats.stuck() == [Loop.ENGINE]
    now = 10_000.0
    assert heartbeats.stuck() == [Loop.ENGINE, Loop.WATCH, Loop.LEADER], "a ticker may be busy as long as it likes"
    heartbeats.beat(Loop.ENGINE)
    heartbeats.forget(Loop.WATCH)
    assert heartbeats.stuck() == [Loop.LEADER]


async def test_an_event_loop_beats_until_it_is_told_to_end() -> None:
    heartbeats = Heartbeats()
    keeping = asyncio.create_task(heartbeats.keep(Loop.ENGINE))
    await asyncio.sleep(0)
    assert list(heartbeats.ages()) == [Loop.ENGINE]
    keeping.cancel()
    await asyncio.wait([keeping])
    assert heartbeats.ages() == {}
