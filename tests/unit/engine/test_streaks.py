"""Troubles are counted while they last; one that nobody meets for long is over."""

from orchestrator.engine.streaks import FORGOTTEN_AFTER_SECONDS, Streaks


def test_a_trouble_lasts_until_it_works_or_is_not_met_for_long() -> None:
    now = 100.0
    streaks = Streaks[str](lambda: now)
    assert (streaks.note("a").since, streaks.note("a").times, streaks.note("b").times) == (100.0, 2, 1)
    now += FORGOTTEN_AFTER_SECONDS / 2
    assert (streaks.note("a").since, streaks.note("a").times) == (100.0, 4)
    now += FORGOTTEN_AFTER_SECONDS / 2
    assert streaks.note("b").since == now, "another process has got past it, for all that is known here"
    assert streaks.note("a").since == 100.0
    streaks.end("a")
    assert streaks.note("a").times == 1
    streaks.end("never met")
