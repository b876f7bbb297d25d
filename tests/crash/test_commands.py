"""The commands that steer a batch die at each of their boundaries; given again, they do what they do undisturbed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from orchestrator.store.embedded import EmbeddedPostgres

from .arena import CHAIN, RESUME, SUBMIT, THINGS, Arguments, End, Things, Trial, new_trial
from .conftest import TOLD
from .victim import Boundary
from .visiting import ALL, Tour, all_boundaries

pytestmark = pytest.mark.timeout(1800)
#: Exit code (interface "Exit codes").
FAILED_IN_PART = 1
#: So many boundaries of each command are visited by `make test`.
FIRST = 4


@dataclass(frozen=True)
class Scenario:
    """Brings about a situation and returns the command that is given in it."""

    name: str
    prepare: Callable[[Trial], Arguments]
    things: Things = THINGS

    def live(self, trial: Trial, boundary: Boundary | None) -> End:
        """The command is given, again if it dies, and the batch goes on to its end."""
        command = self.prepare(trial)
        trial.is_prepared()
        first = trial.run(command, boundary)
        if first.was_killed:
            trial.run(command)
        trial.run(RESUME)
        return first


def cancel(trial: Trial) -> Arguments:
    """One job is finished and not yet stored, one in doubt, one not sent."""
    trial.run(SUBMIT, Boundary("pay.request", 2))
    return ("orchestrator", "cancel", "latest")


def pause(trial: Trial) -> Arguments:
    trial.run(SUBMIT, Boundary("pay.request", 2))
    return ("orchestrator", "pause", "latest")


def _in_doubt(trial: Trial, boundary: Boundary) -> Arguments:
    trial.run(SUBMIT, boundary)
    trial.run(RESUME)
    assert trial.states()["still"] == "in_doubt"
    return ("orchestrator", "resolve", "latest", "--job", "still")


def resolve_as_charged(trial: Trial) -> Arguments:
    return (*_in_doubt(trial, Boundary("pay.answered", 1)), "--as", "charged")


def resolve_as_not_charged(trial: Trial) -> Arguments:
    return (*_in_doubt(trial, Boundary("pay.request", 1)), "--as", "not-charged")


def resolve_by_request(trial: Trial) -> Arguments:
    return (*_in_doubt(trial, Boundary("pay.answered", 1)), "--request-id", trial.request_ids()[0])


def retry(trial: Trial) -> Arguments:
    """One job failed at the provider: it is bought once more, and fails again."""
    trial.run(SUBMIT)
    return ("orchestrator", "retry", "latest", "--yes")


def approve(trial: Trial) -> Arguments:
    """An image is looked at, and its film is bought."""
    trial.run(SUBMIT)
    assert trial.states()["film"] == "waiting"
    return ("orchestrator", "approve", "latest", "--job", "still", "--yes")


def reject(trial: Trial) -> Arguments:
    trial.run(SUBMIT)
    assert trial.states()["film"] == "waiting"
    return ("orchestrator", "reject", "latest", "--job", "still")


#: The image of a chain is to be looked at before its film is bought.
GATED = replace(CHAIN, jobs=(CHAIN.jobs[0] | {"gate": "manual"}, *CHAIN.jobs[1:]))
SCENARIOS = [
    Scenario("cancel", cancel),
    Scenario("pause", pause),
    Scenario("resolve --as charged", resolve_as_charged),
    Scenario("resolve --as not-charged", resolve_as_not_charged),
    Scenario("resolve --request-id", resolve_by_request),
    Scenario("retry", retry),
    Scenario("retry of a branch", retry, CHAIN),
    Scenario("approve", approve, GATED),
    Scenario("reject", reject, GATED),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_command_dies(
    postgres: EmbeddedPostgres, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    with new_trial(postgres.url, scenario.things) as trial:
        undisturbed = scenario.live(trial, None)
        expected = trial.states()
        assert undisturbed.code in (0, FAILED_IN_PART), trial.log()
        assert trial.finish(expected) == [], trial.log()
    tour = Tour(partial(new_trial, postgres.url, scenario.things), scenario.live, expected)
    boundaries = all_boundaries(undisturbed.visits)
    tour.visit(boundaries if ALL else boundaries[:FIRST])  # retry goes on like any other run
    record_property(TOLD, f"command {scenario.name}: {tour.summary()}; the jobs end as {expected}")
    tour.check()
    tour.check_all_reached()
    assert tour.reached
