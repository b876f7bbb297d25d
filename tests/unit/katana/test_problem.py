"""The provider's own words, however they are wrapped, and the code that we file them under."""

from typing import Any

import pytest

from orchestrator.base.states import JobError
from orchestrator.katana.problem import Problem, read_problem


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ("", None), ({}, None), ([], None), (7, None), ({"error": None}, None), ({"error": {}}, None),
        ("plain", Problem(None, "plain")),
        ({"error": "plain"}, Problem(None, "plain")),
        ({"message": "m"}, Problem(None, "m")),
        ({"code": "c"}, Problem("c", "c")),
        ({"error": {"code": "c", "message": "m"}}, Problem("c", "m")),
        ({"code": "outer", "error": {"message": "m"}}, Problem("outer", "m")),
        ({"error": {"type": "t", "msg": "m"}}, Problem("t", "m")),
        ({"detail": [{"msg": "a", "type": "t"}, {"msg": "b"}]}, Problem("t", "a; b")),
        ({"errors": ["a", "b"]}, Problem(None, "a; b")),
        ({"responses": [{"type": "image", "status": "rejected"}]}, None),
        ({"responses": [{"type": "image", "error": {"code": "c", "message": "m"}}, None]}, Problem("c", "m")),
    ],
)  # fmt: skip
def test_reading(value: Any, expected: Problem | None) -> None:
    assert read_problem(value) == expected


def test_long_words_are_cut() -> None:
    problem = read_problem({"code": "c" * 5000, "message": "m" * 5000})
    assert problem is not None
    assert len(problem.message) == 2000
    assert len(problem.code or "") == 2000


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem("moderation", "no"), JobError.MODERATION),
        (Problem(None, "Blocked by our content policy"), JobError.MODERATION),
        (Problem("insufficient_credits", "no"), JobError.INSUFFICIENT_CREDITS),
        (Problem(None, "Not enough credits"), JobError.INSUFFICIENT_CREDITS),
        (Problem(None, "insufficient image resolution"), JobError.REJECTED_INPUT),
        (Problem("invalid", "aspect ratio"), JobError.REJECTED_INPUT),
    ],
)
def test_filing(problem: Problem, expected: JobError) -> None:
    assert problem.filed_under(JobError.REJECTED_INPUT) is expected
