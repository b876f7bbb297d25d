"""The privacy proof of a private text model (guide, "Privacy proof example")."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

from orchestrator.base.errors import Unusable, UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.models import TextModel
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.operations.catalogue import Filter, catalogue, select
from orchestrator.operations.opening import Provider, real_provider

_NONCE_BYTES = 32
#: Answers that say that there is none for this model, rather than that something does not work now.
_THERE_IS_NONE = (400, 404, 422)


@dataclass(frozen=True, slots=True)
class Attestation:
    """A proof as the provider gave it, for a nonce that was made for it alone. Nothing of it was verified here."""

    model: str
    nonce: str
    proof: dict[str, Any]

    def document(self) -> dict[str, Any]:
        return {"model": self.model, "nonce": self.nonce, "attestation": self.proof}


def attest(model: str, settings: Settings) -> Attestation:
    """Ask for the proof of a model. Raises UsageError where it can have none, Unusable where it cannot be had now."""
    _require_private(model, settings)
    nonce = secrets.token_hex(_NONCE_BYTES)
    try:
        proof = asyncio.run(_ask(real_provider(settings), model, nonce))
    except ProviderUnavailable as error:
        if error.status in _THERE_IS_NONE:
            raise UsageError(f"{model} has no attestation ({error.reason})") from None
        raise Unusable(f"the attestation of {model} cannot be had now ({error.reason})") from None
    if proof.get("nonce", nonce) != nonce:
        raise Unusable(f"the attestation of {model} is for another nonce: it may be an old one")
    return Attestation(model, nonce, proof)


async def _ask(provider: Provider, model: str, nonce: str) -> dict[str, Any]:
    async with provider.client() as client:
        return await client.attestation(model, nonce)


def _require_private(name: str, settings: Settings) -> None:
    (model,) = select(catalogue(settings), Filter(name, None, None, None))
    if not isinstance(model, TextModel) or not model.is_private:
        raise UsageError(f"{name} is no private text model", hint="orchestrator models --type text --feature private")
