"""What stands between an offer and a signature: what differs from what is expected is refused, and nothing signed."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from orchestrator.base.money import canonical
from orchestrator.base.payments import (
    CHAINS,
    SETTLEMENT_ALLOWANCE,
    TOKEN_ACCOUNT_ALLOWANCE,
    Network,
    from_atomic,
)

SCHEME = "exact"
#: How much dearer than planned work may be when it is quoted, unless a batch says less.
TOLERANCE = Decimal("0.1")
_DECIMALS = 6
#: The largest budget of time for an answer that is believable, in seconds.
_LONGEST_TIMEOUT = 86_400
_HEX_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NO_ONE = ("0x" + "0" * 40, "1" * 32)
PAY_TO_SETTING = {Network.BASE: "ORCHESTRATOR_PAY_TO_BASE", Network.SOLANA: "ORCHESTRATOR_PAY_TO_SOLANA"}


class Offered(Protocol):
    """An entry of `accepts`, as the wire gave it; `amount` is in atomic USDC, `entry` is what would be signed."""

    @property
    def scheme(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def asset(self) -> str: ...
    @property
    def pay_to(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def max_timeout_seconds(self) -> int: ...
    @property
    def entry(self) -> dict[str, Any]: ...


OfferT = TypeVar("OfferT", bound=Offered)


class PaymentRefused(Exception):
    """An offer that is not paid; `reason` is for people, `is_price`: it is dearer than allowed, and that alone."""

    def __init__(self, reason: str, *, is_price: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_price = is_price


def spend_limit(work: Decimal, tolerance: Decimal | None = None, *, creates_account: bool = False) -> Decimal:
    """The most that one payment may ask, in USDC, for `work` as it was planned, without its settlement.

    `tolerance` is the fraction that a batch allows, where it says one; `creates_account`: the recipient's token account
    on Solana has still to be made.
    """
    fraction = TOLERANCE if tolerance is None else min(TOLERANCE, tolerance)
    account = TOKEN_ACCOUNT_ALLOWANCE if creates_account else Decimal(0)
    return work * (1 + fraction) + SETTLEMENT_ALLOWANCE + account


def choose(offers: Sequence[OfferT], network: Network) -> OfferT:
    """The first offer that can be paid on `network`. Raises PaymentRefused."""
    for offer in offers:
        if offer.scheme == SCHEME and offer.network == CHAINS[network].caip2:
            return offer
    kinds = dict.fromkeys(f"{_quoted(offer.scheme)} on {_quoted(offer.network)}" for offer in offers)
    offered = ", ".join(kinds) or "nothing"
    raise PaymentRefused(
        f"the provider offers {offered}, and no payment {_quoted(SCHEME)} on {_quoted(CHAINS[network].caip2)}: "
        "another `payment` of the manifest may work"
    )


def check(offer: Offered, network: Network, *, limit: Decimal, pay_to: str | None) -> str:
    """Let an offer pass, and return its recipient as the network writes it. Raises PaymentRefused.

    `limit` is in USDC (`spend_limit`). `pay_to` is the recipient that is configured or pinned; only where there is
    none yet may it be None: then any address passes, and has to be pinned before anything is signed.
    """
    _check_entry(offer)
    _check_kind(offer, network)
    recipient = _recipient(offer, network, pay_to)
    _check_amount(offer, limit)
    return recipient


def address_of(text: str, network: Network) -> str | None:
    """An address as its network writes it (checksummed, base58), or None where it is none that could be paid."""
    if text in _NO_ONE:
        return None
    return _base_address(text) if network is Network.BASE else _solana_address(text)


def _check_entry(offer: Offered) -> None:
    """What is signed is the entry: it has to say what was read from it."""
    entry = offer.entry
    read = (offer.scheme, offer.network, offer.asset, offer.pay_to, str(offer.amount))
    said = tuple(entry.get(name) for name in ("scheme", "network", "asset", "payTo"))
    required = entry.get("maxAmountRequired", entry.get("amount"))
    if read != (*said, str(entry.get("amount"))) or str(required) != str(offer.amount):
        raise PaymentRefused("the provider's offer contradicts itself: its amounts differ or are oddly written")


def _check_kind(offer: Offered, network: Network) -> None:
    chain = CHAINS[network]
    _expect("the scheme", offer.scheme, SCHEME)
    _expect("the network", offer.network, chain.caip2)
    is_usdc = offer.asset == chain.usdc or (network is Network.BASE and _same_hex(offer.asset, chain.usdc))
    if not is_usdc:
        _expect("the asset", offer.asset, f"{chain.usdc} (USDC)")
    extra = offer.entry.get("extra")
    decimals = extra.get("decimals", _DECIMALS) if isinstance(extra, dict) else _DECIMALS
    _expect("decimals of USDC", str(decimals), str(_DECIMALS))
    if not 1 <= offer.max_timeout_seconds <= _LONGEST_TIMEOUT:
        _expect("the timeout", f"{offer.max_timeout_seconds} seconds", f"1 to {_LONGEST_TIMEOUT} seconds")


def _recipient(offer: Offered, network: Network, pay_to: str | None) -> str:
    offered = address_of(offer.pay_to, network)
    if offered is None:
        raise PaymentRefused(
            f"the provider asks to pay {_quoted(offer.pay_to)}, which is no address on {_name(network)}"
        )
    if pay_to is None:
        return offered
    expected = address_of(pay_to, network)
    if expected is None:
        raise PaymentRefused(
            f"the recipient expected, {_quoted(pay_to)}, is no address on {_name(network)}: "
            f"set {PAY_TO_SETTING[network]} right"
        )
    if offered != expected:
        raise PaymentRefused(
            f"the provider asks to pay {offered}, expected was {expected}: "
            f"once you know from the provider that it has changed, set {PAY_TO_SETTING[network]}"
        )
    return offered


def _check_amount(offer: Offered, limit: Decimal) -> None:
    amount = from_atomic(offer.amount)
    if amount <= 0:
        raise PaymentRefused("the provider asks for a payment of 0 USDC")
    if amount > limit:
        raise PaymentRefused(
            f"the provider asks for {canonical(amount)} USDC, at most {canonical(limit)} USDC is allowed "
            "for what was planned",
            is_price=True,
        )


def _expect(what: str, offered: str, expected: str) -> None:
    if offered != expected:
        raise PaymentRefused(f"the provider's offer has {what} {_quoted(offered)}, expected was {_quoted(expected)}")


def _base_address(text: str) -> str | None:
    from eth_utils.address import to_checksum_address  # slow to import

    if not _HEX_ADDRESS.fullmatch(text):
        return None
    checksummed = str(to_checksum_address(text))
    digits = text[2:]
    # Mixed case is a checksum: one that does not hold is a typing error or a forgery.
    return checksummed if digits.islower() or digits.isupper() or digits.isdigit() or text == checksummed else None


def _solana_address(text: str) -> str | None:
    from solders.pubkey import Pubkey

    try:
        return str(Pubkey.from_string(text))
    except ValueError:
        return None


def _same_hex(text: str, address: str) -> bool:
    return _HEX_ADDRESS.fullmatch(text) is not None and text.lower() == address.lower()


def _name(network: Network) -> str:
    return network.value.capitalize()


def _quoted(text: str) -> str:
    """What others wrote, short and in one line."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f'"{printable[:60]}..."' if len(printable) > 60 else f'"{printable}"'
