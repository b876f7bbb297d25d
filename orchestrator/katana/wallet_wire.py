"""What the provider says of a wallet's balance, read tolerantly: a field that is missing or garbled is None.

The guide names the fields of a top-up's answer and none of the reads' (guide, "x402 wallet balance top-up"); what is
read here of those are the same names. Amounts are USDC.
"""

from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.base.money import parse_amount
from orchestrator.base.payments import ATOMIC
from orchestrator.katana.wire import Amount, Instant, Text, parse_object

_UNSIGNED = str.maketrans("", "", "+-")


class Movement(StrEnum):
    """What a transaction did to the balance."""

    TOP_UP = "top_up"
    DEBIT = "debit"
    REFUND = "refund"


def _movement_or_none(value: object) -> Movement | None:
    word = value.strip().lower().replace("-", "_") if isinstance(value, str) else ""
    return Movement(word) if word in set(Movement) else None


def _size_or_none(value: object) -> Decimal | None:
    """The size of an amount that may be written with a sign: what it does to the balance is told by its type."""
    try:
        text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        size = parse_amount(text.strip().translate(_UNSIGNED) if isinstance(text, str) else text)
        return size.quantize(ATOMIC, rounding=ROUND_UP)
    except (ValueError, ArithmeticError):
        return None


def _instant_or_seconds(value: object) -> object:
    """Unix seconds, as wallet proofs have them, as the instant that they are."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
        return datetime.fromtimestamp(value, UTC).isoformat()
    return value


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class WalletTransaction(_Wire):
    """One movement of a wallet's balance; `amount` is its size, `transaction` the one on chain, if any."""

    id: Text = None
    type: Annotated[Movement | None, BeforeValidator(_movement_or_none)] = None
    amount: Annotated[Decimal | None, BeforeValidator(_size_or_none)] = Field(
        default=None, validation_alias=AliasChoices("amount_usdc", "amount")
    )
    request_id: Text = None
    created_at: Annotated[Instant, BeforeValidator(_instant_or_seconds)] = None
    transaction: Text = None


class TopUpAnswer(_Wire):
    """The answer to a top-up that was paid for (guide, "x402 wallet balance top-up")."""

    wallet_address: Text = None
    credited_usdc: Amount = None
    paid_usdc: Amount = None
    balance_usdc: Amount = None

    @property
    def is_told(self) -> bool:
        """Whether it says that a balance was credited; anything else is no final answer."""
        return self.credited_usdc is not None

    def is_of(self, address: str, credited: Decimal) -> bool:
        """Whether it says so of this wallet, as far as it names one, and of no less than was asked for."""
        is_ours = self.wallet_address is None or self.wallet_address.lower() == address.lower()
        return is_ours and self.credited_usdc is not None and self.credited_usdc >= credited

    def amounts(self) -> dict[str, Any]:
        """What it says of money alone, in JSON."""
        return self.model_dump(mode="json", include={"credited_usdc", "paid_usdc", "balance_usdc"})


class _BalanceAnswer(_Wire):
    balance: Amount = Field(default=None, validation_alias=AliasChoices("balance_usdc", "balance"))


def read_wallet_balance(body: bytes) -> Decimal | None:
    """The USDC in the answer to a balance read; None where it cannot be read."""
    return _BalanceAnswer.model_validate(parse_object(body) or {}).balance


def read_wallet_transactions(body: bytes) -> list[WalletTransaction] | None:
    """The transactions in an answer, in its order; None where it has no list of objects."""
    entries: Any = (parse_object(body) or {}).get("transactions")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return [WalletTransaction.model_validate(entry) for entry in entries]


def read_top_up(body: bytes) -> TopUpAnswer:
    """The answer to a paid top-up, with what of it can be read."""
    return TopUpAnswer.model_validate(parse_object(body) or {})
