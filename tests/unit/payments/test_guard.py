"""The guard: only the offer that is expected, down to every field, gets a signature."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from orchestrator.base.payments import CHAINS, Network, from_atomic
from orchestrator.payments.guard import PaymentRefused, address_of, check, choose, spend_limit

from .judges import PAY_TO, entry_for

LIMIT = Decimal("0.02")
OTHER_PAYEE = {
    Network.BASE: "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23",
    Network.SOLANA: "CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8",
}
NETWORKS = pytest.mark.parametrize("network", Network)
any_network = st.sampled_from(Network)


@dataclass(frozen=True)
class Offer:
    """As the wire gives it."""

    scheme: str
    network: str
    asset: str
    pay_to: str
    amount: int
    max_timeout_seconds: int
    entry: dict[str, Any]


def offer_of(entry: dict[str, Any]) -> Offer:
    return Offer(
        entry["scheme"],
        entry["network"],
        entry["asset"],
        entry["payTo"],
        int(entry["amount"]),
        entry["maxTimeoutSeconds"],
        entry,
    )


def changed(network: Network, /, **changes: Any) -> Offer:
    return offer_of(entry_for(network) | changes)


def passes(offer: Offer, network: Network, pay_to: str | None = None) -> str:
    return check(offer, network, limit=LIMIT, pay_to=pay_to or PAY_TO[network])


def refused(offer: Offer, network: Network) -> PaymentRefused:
    with pytest.raises(PaymentRefused) as caught:
        passes(offer, network)
    return caught.value


@NETWORKS
def test_what_is_expected_passes(network: Network) -> None:
    assert passes(changed(network), network) == PAY_TO[network]
    assert passes(changed(network, maxAmountRequired=13938), network) == PAY_TO[network]
    assert passes(changed(network, extra={"decimals": 6, "chain": "base"}), network) == PAY_TO[network]


@given(network=any_network, amount=st.integers(0, 10**9))
@example(network=Network.BASE, amount=20_000)
@example(network=Network.BASE, amount=20_001)
@example(network=Network.SOLANA, amount=0)
def test_an_amount_passes_up_to_the_limit(network: Network, amount: int) -> None:
    offer = changed(network, amount=str(amount), maxAmountRequired=str(amount))
    if 0 < amount <= 20_000:
        assert passes(offer, network) == PAY_TO[network]
    else:
        assert refused(offer, network).is_price == (amount > 0)


@given(
    network=any_network,
    field=st.sampled_from(["scheme", "network", "asset", "payTo"]),
    value=st.one_of(
        st.text(max_size=80),
        st.sampled_from([chain.caip2 for chain in CHAINS.values()]),
        st.sampled_from([chain.usdc for chain in CHAINS.values()]),
        st.sampled_from([*PAY_TO.values(), *OTHER_PAYEE.values(), "eip155:1", "eip155:84532", "upto", "EXACT"]),
    ),
)
def test_nothing_that_differs_passes(network: Network, field: str, value: str) -> None:
    expected = entry_for(network)[field]
    assume(value != expected and not (expected.startswith("0x") and value.lower() == expected.lower()))
    refusal = refused(changed(network, **{field: value}), network)
    assert not refusal.is_price
    assert "\n" not in refusal.reason
    assert len(refusal.reason) < 400


@given(network=any_network, pay_to=st.text(max_size=50))
def test_nobody_else_is_paid(network: Network, pay_to: str) -> None:
    assume(pay_to.lower() != PAY_TO[network].lower())
    with pytest.raises(PaymentRefused):
        check(changed(network), network, limit=LIMIT, pay_to=pay_to)


@given(network=any_network, seconds=st.integers(0, 10**12))
def test_timeouts_are_believable(network: Network, seconds: int) -> None:
    offer = changed(network, maxTimeoutSeconds=seconds)
    if 1 <= seconds <= 86_400:
        passes(offer, network)
    else:
        assert "timeout" in refused(offer, network).reason


@given(
    network=any_network,
    field=st.sampled_from(["scheme", "network", "asset", "pay_to", "amount"]),
    change=st.sampled_from(["1", "x"]),
)
def test_what_was_read_is_what_would_be_signed(network: Network, field: str, change: str) -> None:
    offer = changed(network)
    read = getattr(offer, field)
    other: Any = read + 1 if isinstance(read, int) else read + change
    assert "contradicts itself" in refused(replace(offer, **{field: other}), network).reason


@NETWORKS
@pytest.mark.parametrize("changes", [{"maxAmountRequired": "13939"}, {"amount": "013938"}, {"amount": "+13938"}])
def test_amounts_that_contradict_each_other(network: Network, changes: dict[str, str]) -> None:
    assert "contradicts itself" in refused(changed(network, **changes), network).reason


@NETWORKS
def test_a_coin_with_other_decimals_is_another_coin(network: Network) -> None:
    assert "decimals" in refused(changed(network, extra={"decimals": 18}), network).reason


@NETWORKS
def test_the_first_payment_names_whom_to_pin(network: Network) -> None:
    assert check(changed(network), network, limit=LIMIT, pay_to=None) == PAY_TO[network]
    for nobody in ("0x" + "0" * 40, "1" * 32, "", "imgnai"):
        with pytest.raises(PaymentRefused, match="no address"):
            check(changed(network, payTo=nobody), network, limit=LIMIT, pay_to=None)


def test_addresses_on_base_compare_whatever_their_case() -> None:
    lower, upper = PAY_TO[Network.BASE].lower(), "0x" + PAY_TO[Network.BASE][2:].upper()
    for offered in (lower, upper, PAY_TO[Network.BASE]):
        for configured in (lower, upper, PAY_TO[Network.BASE]):
            assert passes(changed(Network.BASE, payTo=offered), Network.BASE, configured) == PAY_TO[Network.BASE]
    assert passes(changed(Network.BASE, asset=CHAINS[Network.BASE].usdc.lower()), Network.BASE)


def test_but_a_checksum_has_to_hold() -> None:
    forged = PAY_TO[Network.BASE].replace("c523E", "C523E")
    assert address_of(forged, Network.BASE) is None
    assert "no address on Base" in refused(changed(Network.BASE, payTo=forged), Network.BASE).reason


def test_addresses_on_solana_compare_exactly() -> None:
    swapped = PAY_TO[Network.SOLANA].swapcase()
    assert not refused(changed(Network.SOLANA, payTo=swapped), Network.SOLANA).is_price
    assert not refused(changed(Network.SOLANA, asset=CHAINS[Network.SOLANA].usdc.lower()), Network.SOLANA).is_price


@NETWORKS
def test_a_refusal_says_what_was_offered_what_was_expected_and_what_to_do(network: Network) -> None:
    moved = refused(changed(network, payTo=OTHER_PAYEE[network]), network).reason
    assert OTHER_PAYEE[network] in moved
    assert PAY_TO[network] in moved
    assert f"ORCHESTRATOR_PAY_TO_{network.upper()}" in moved
    dear = refused(changed(network, amount="20001", maxAmountRequired="20001"), network)
    assert "0.020001 USDC" in dear.reason
    assert "0.02 USDC" in dear.reason
    with pytest.raises(PaymentRefused, match=f"ORCHESTRATOR_PAY_TO_{network.upper()}"):
        passes(changed(network), network, "nonsense")


@NETWORKS
def test_choosing(network: Network) -> None:
    offers = [changed(each) for each in Network]
    assert choose(offers, network).network == CHAINS[network].caip2
    assert choose([replace(offers[0], scheme="upto"), *offers], network).scheme == "exact"
    others = [offer for offer in offers if offer.network != CHAINS[network].caip2]
    with pytest.raises(PaymentRefused, match="another `payment`") as caught:
        choose(others, network)
    assert others[0].network in caught.value.reason
    assert CHAINS[network].caip2 in caught.value.reason
    with pytest.raises(PaymentRefused, match="offers nothing"):
        choose([], network)


def test_what_is_offered_several_times_is_named_once() -> None:
    elsewhere = Offer("exact", "eip155:1", "0x", "0x", 1, 60, {})
    with pytest.raises(PaymentRefused, match='offers "exact" on "eip155:1", and no payment'):
        choose([elsewhere, elsewhere], Network.BASE)


@pytest.mark.parametrize(
    ("tolerance", "creates_account", "limit"),
    [
        (None, False, "0.12"),
        ("0.05", False, "0.115"),
        ("0", False, "0.11"),
        ("0.5", False, "0.12"),
        (None, True, "0.62"),
        ("0.05", True, "0.615"),
    ],
)
def test_the_limit(tolerance: str | None, creates_account: bool, limit: str) -> None:
    allowed = None if tolerance is None else Decimal(tolerance)
    assert spend_limit(Decimal("0.1"), allowed, creates_account=creates_account) == Decimal(limit)


@given(work=st.decimals(0, 1000, places=6), tolerance=st.none() | st.decimals(0, 5, places=3))
def test_the_limit_is_never_more_than_a_tenth_and_a_cent_above_the_plan(
    work: Decimal, tolerance: Decimal | None
) -> None:
    assert work + Decimal("0.01") <= spend_limit(work, tolerance) <= work * Decimal("1.1") + Decimal("0.01")
    assert from_atomic(13938) <= spend_limit(Decimal("0.01"))  # the guide's own example
