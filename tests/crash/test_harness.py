"""The harness finds what it is there to find: an orchestrator that is broken on purpose fails its audit."""

import pytest

from orchestrator.store.embedded import EmbeddedPostgres

from .arena import SUBMIT, new_trial
from .victim import Boundary


@pytest.mark.parametrize(("first", "second"), [("forget_what_was_sent", None), (None, "send_again")])
def test_a_double_charge_is_found(postgres: EmbeddedPostgres, first: str | None, second: str | None) -> None:
    with new_trial(postgres.url) as trial:
        assert trial.run(SUBMIT, Boundary("pay.answered", 1), first).was_killed
        trial.run(trial.next_command(), sabotage=second)
        assert any("was charged 2 times" in words for words in trial.finish()), trial.log()


def test_a_lost_asset_is_found(postgres: EmbeddedPostgres) -> None:
    with new_trial(postgres.url) as trial:
        trial.run(SUBMIT, sabotage="store_nothing")
        assert any("is not there" in words for words in trial.finish()), trial.log()


def test_an_orphaned_lease_and_a_stuck_batch_are_found(postgres: EmbeddedPostgres) -> None:
    with new_trial(postgres.url) as trial:
        assert trial.run(SUBMIT, Boundary("fetch.answered", 1)).was_killed
        found = trial.finish()
    assert any("a lease that nobody holds" in words for words in found)
    assert any("nobody works on it" in words for words in found)
