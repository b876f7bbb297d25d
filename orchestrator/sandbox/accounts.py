"""Who is calling: credentials from the headers the guide names, and the sandbox account behind them."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass


class BadCredentials(Exception):
    """Credentials were sent, but they open no account."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that exist: `secrets` by key, or, when None, one for any non-empty pair."""

    secrets: Mapping[str, str] | None = None

    def identify(self, headers: Mapping[str, str]) -> str | None:
        """The account's name, None for a call without credentials. Raises BadCredentials.

        Source: guide, "Authentication and x402 Payment": X-API-Key with X-API-Secret, or `Bearer key:secret`.
        """
        pair = _pair(headers)
        if pair is None:
            return None
        key, secret = pair
        if not key or not secret:
            raise BadCredentials
        if self.secrets is None:
            return account_name(key, secret)
        known = self.secrets.get(key)
        if known is None or not hmac.compare_digest(known.encode(), secret.encode()):
            raise BadCredentials
        return account_name(key, secret)


def account_name(key: str, secret: str) -> str:
    """The name of the account that a key and a secret open; tells neither."""
    return "sandbox-" + hashlib.sha256(f"{key}:{secret}".encode()).hexdigest()[:12]


def _pair(headers: Mapping[str, str]) -> tuple[str, str] | None:
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise BadCredentials
        key, _, secret = token.strip().partition(":")
        return key, secret
    if "X-API-Key" in headers or "X-API-Secret" in headers:
        return headers.get("X-API-Key", ""), headers.get("X-API-Secret", "")
    return None
