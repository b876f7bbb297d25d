"""Which jobs run first."""

from decimal import Decimal

import pytest

from orchestrator.planner.result import PlannedJob
from orchestrator.store.canaries import choose_canaries


def canaries(made: str, each: int = 1, never: str = "") -> str:
    """The names of the canaries of jobs such as `h1 v1<h1,h2`; the first letter of a name is the model."""
    jobs = []
    for ordinal, text in enumerate(made.split()):
        name, _, needs = text.partition("<")
        needed = tuple(needs.split(",")) if needs else ()
        jobs.append(PlannedJob(ordinal, name, "image", name[0], {}, {}, Decimal(1), needs=needed))
    chosen = choose_canaries(jobs, each, never.split())
    return " ".join(job.id for job in jobs if job.ordinal in chosen)


@pytest.mark.parametrize(
    ("made", "each", "chosen"),
    [
        ("a1 a2 b1 a3 b2", 1, "a1 b1"),
        ("a1 a2 b1 a3 b2", 2, "a1 a2 b1 b2"),
        ("h1 h2 h3 v3<h3 v2<h2 v1<h1", 1, "h1 v1"),
        ("v3<h3 v2<h2 v1<h1 h1 h2 h3", 1, "v1 h1"),
        ("h1 h2 h3 v3<h3 v2<h2 v1<h1", 2, "h1 h2 v2 v1"),
        ("h1 h2 h3 v<h2,h3", 1, "h1 h2 h3 v"),
        ("h1 h2 v1<h2 v2<v1 x<v2", 1, "h1 h2 v1 v2 x"),
        ("h1 h2 h3<h2", 2, "h1 h2"),
        ("v<gone w<v", 1, "v w"),
    ],
)
def test_a_canary_needs_canaries_alone(made: str, each: int, chosen: str) -> None:
    assert canaries(made, each) == chosen


def test_what_can_never_be_sent_is_no_canary() -> None:
    assert canaries("h v1<gone v2<v1 v3<h", never="gone") == "h v3"


def test_many_jobs_in_a_long_chain() -> None:
    assert canaries("v0 " + " ".join(f"v{n}<v{n - 1}" for n in range(1, 5000)), 2) == "v0 v1"
