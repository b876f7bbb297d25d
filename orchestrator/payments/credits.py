"""Billing by API-key credits (guide, "Authentication and x402 Payment")."""

import hashlib

from orchestrator.base.errors import Unusable
from orchestrator.base.settings import Settings
from orchestrator.payments.payer import Payer


def credits_payer(settings: Settings) -> Payer:
    """The payer of the API key in `settings`. Raises Unusable where key or secret is missing."""
    missing = [
        name
        for name, value in (
            ("KATANA_API_KEY", settings.katana_api_key),
            ("KATANA_API_SECRET", settings.katana_api_secret),
        )
        if value is None or not value.get_secret_value()
    ]
    if settings.katana_api_key is None or settings.katana_api_secret is None or missing:
        raise Unusable(
            f"no credentials: {' and '.join(missing)} not set",
            hint="set KATANA_API_KEY and KATANA_API_SECRET, or try it without an account: --sandbox",
        )
    key = settings.katana_api_key.get_secret_value()
    secret = settings.katana_api_secret.get_secret_value()
    if not (key + secret).isascii() or not (key + secret).isprintable():
        raise Unusable("KATANA_API_KEY or KATANA_API_SECRET holds characters that no HTTP header can carry")
    return payer_of(key, secret)


def payer_of(key: str, secret: str) -> Payer:
    """The payer of one key pair. The account is the key's digest: the secret may be rotated."""
    digest = hashlib.sha256(f"katana-account:{key}".encode()).hexdigest()[:16]
    return Payer(account=f"credits:{digest}", headers={"X-API-Key": key, "X-API-Secret": secret})
