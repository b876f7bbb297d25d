"""`attest` against a real sandbox."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.base.errors import UsageError
from orchestrator.base.settings import Settings, load_settings
from orchestrator.operations.attesting import attest
from orchestrator.sandbox import Sandbox

PRIVATE = "kimi-k2-6-private"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield load_settings(
            home=tmp_path / "home", katana_base_url=sandbox.base_url, katana_api_key="key", katana_api_secret="secret"
        )


def test_each_proof_is_for_a_nonce_of_its_own(settings: Settings) -> None:
    first, second = attest(PRIVATE, settings), attest(PRIVATE, settings)
    assert re.fullmatch("[0-9a-f]{64}", first.nonce)
    assert first.nonce != second.nonce
    assert first.document() == {"model": PRIVATE, "nonce": first.nonce, "attestation": first.proof}
    assert first.proof["nonce"] == first.nonce


@pytest.mark.parametrize("model", ["grok-4-3", "gen", "no-such-model"])
def test_a_model_that_can_have_none_is_a_usage_error(settings: Settings, model: str) -> None:
    with pytest.raises(UsageError):
        attest(model, settings)
