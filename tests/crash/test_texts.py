"""SIGKILL around texts, which nobody can ask for again: they are taken whole, or are in doubt, and never paid twice."""

import random
from functools import partial

import pytest

from orchestrator.store.embedded import EmbeddedPostgres

from .arena import SUBMIT, Things, new_trial
from .conftest import TOLD
from .test_every_boundary import SEED, Tell, counted, live_locally
from .victim import Boundary
from .visiting import ALL, RUNS, Tour, all_boundaries, surely

#: A text, one that should be JSON and is cut, and one that is refused for its content.
TEXTS = Things(
    (
        {"id": "text", "model": "qwen3-6-flash", "prompt": "Say it", "max_tokens": 200},
        {
            "id": "cut",
            "model": "qwen3-6-flash",
            "prompt": "Say less",
            "max_tokens": 2,
            "response_format": {"type": "json_object"},
        },
        {"id": "refused", "model": "qwen3-6-flash", "prompt": "Say no [sandbox:moderation]", "max_tokens": 200},
    ),
    {"text": "completed", "cut": "failed", "refused": "failed"},
)
SAMPLED = 4
#: Where an answer is lost, or has just been heard.
_AROUND_THE_ANSWER = ("pay.sent", "pay.answered")

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="session")
def text_visits(postgres: EmbeddedPostgres) -> dict[str, int]:
    """How often the local driver visits each boundary when it works texts."""
    runs = []
    for _ in range(RUNS):
        with new_trial(postgres.url, TEXTS) as trial:
            runs.append(counted(trial, trial.run(SUBMIT)))
    return surely(*runs)


def _taking(boundary: Boundary) -> bool:
    """Whether it is the commit that takes an answer, with its text and its end."""
    return boundary.name.startswith("db.") and "insert asset" in boundary.name


def test_a_text_is_taken_whole_or_in_doubt(
    postgres: EmbeddedPostgres, text_visits: dict[str, int], record_property: Tell
) -> None:
    everything = all_boundaries(text_visits)
    taking = [boundary for boundary in everything if _taking(boundary)]
    assert taking, "one commit has the text and all else of the answer"
    assert all("update submission" in boundary.name and "insert ledger" in boundary.name for boundary in taking)
    chosen = everything
    if not ALL:
        around = [Boundary(name, 1) for name in _AROUND_THE_ANSWER]
        rest = [boundary for boundary in everything if boundary not in (*taking, *around)]
        chosen = [*taking, *around, *random.Random(SEED).sample(rest, SAMPLED)]
    tour = Tour(partial(new_trial, postgres.url, TEXTS), live_locally)
    tour.visit(chosen)
    which = "" if ALL else f" of {len(everything)}: {', '.join(map(str, chosen))} (CRASH_SEED={SEED})"
    record_property(TOLD, f"texts   {tour.summary()}{which}")
    tour.check()
