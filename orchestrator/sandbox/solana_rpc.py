"""Solana as an endpoint tells of it: blocks every 0.4 seconds, each final at once, and who has paid the provider."""

from typing import Any

from orchestrator.sandbox.chains import View
from orchestrator.sandbox.rpc import no_such_method


def answer(view: View, method: str, params: list[Any]) -> object:
    """The result of a call. Raises RpcError."""
    raise no_such_method(method)
