"""What a worker without keys is said to do."""

import pytest

from orchestrator.base.payments import Payment
from orchestrator.operations.keyless import steps_done
from orchestrator.operations.opening import Provider
from orchestrator.payments.payer import Payer


@pytest.mark.parametrize(
    ("payments", "has_keys", "done"),
    [
        ([], False, {"copy", "poll"}),
        ([Payment.CREDITS], True, {"copy", "poll"}),
        ([Payment.CREDITS], False, {"copy"}),
        ([Payment.WALLET_BASE, Payment.X402_BASE], False, {"copy"}),
        ([Payment.X402_BASE, Payment.X402_SOLANA], False, {"copy", "poll"}),
    ],
)
def test_only_direct_payments_are_polled_without_keys(payments: list[Payment], has_keys: bool, done: set[str]) -> None:
    url = "https://provider.test"
    providers = [
        Provider(url, url, Payer(f"{payment}:a", {}, payment), "", "", None, has_keys=has_keys) for payment in payments
    ]
    assert steps_done({"poll", "copy"}, providers) == done
