"""Each branch of the tree ends a command with the exit code that the interface promises."""

import pytest

from orchestrator.base.errors import Interrupted, ManifestError, OrchestratorError, SpendRefused, Unusable, UsageError


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(OrchestratorError, 70), (UsageError, 2), (SpendRefused, 3), (Unusable, 4), (Interrupted, 130)],
)
def test_exit_codes(error: type[OrchestratorError], exit_code: int) -> None:
    raised = error("what happened", hint="what to do", code="special")
    assert (raised.exit_code, raised.message, raised.hint, raised.code) == (
        exit_code, "what happened", "what to do", "special",
    )  # fmt: skip
    assert error("x").code == error.code


def test_a_manifest_that_is_only_too_dear_is_a_refusal() -> None:
    assert ManifestError("x", document={}, only_money=False).exit_code == 2
    assert ManifestError("x", document={}, only_money=True).exit_code == 3
    assert ManifestError.exit_code == 2
