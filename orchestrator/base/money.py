"""Exact money: credits, USDC and US dollars as Decimal, never float.

Credits have one decimal place at the provider (guide, "Credits / API key examples": a balance of 2000 is "200.0").
"""

from decimal import Decimal, InvalidOperation

ZERO = Decimal(0)


def parse_amount(value: object) -> Decimal:
    """A non-negative finite amount from a string, an int or a Decimal.

    Raises ValueError for floats, signs that make it negative, NaN, infinities and anything unreadable.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"not an exact amount: {value!r}")
    try:
        amount = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise ValueError(f"not an amount: {value!r}") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"not an amount of zero or more: {value!r}")
    return amount


def canonical(amount: Decimal) -> str:
    """The public spelling of an amount: no exponent, no trailing zeros, "0" for nothing."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def optional_canonical(amount: Decimal | None) -> str | None:
    """`canonical`, with None where there is no amount."""
    return None if amount is None else canonical(amount)


def unit_word(unit: str) -> str:
    """What people call a unit: `credits`, `usd`, and `USDC` for `usdc`."""
    return "USDC" if unit == "usdc" else unit


def in_words(amount: Decimal, unit: str) -> str:
    """An amount as messages say it: `14 credits`, `0.013938 USDC`."""
    return f"{canonical(amount)} {unit_word(unit)}"


def credits_to_usd(credit_amount: Decimal, usd_per_credit: Decimal) -> Decimal:
    """US dollars that an amount of credits costs at `usd_per_credit`."""
    return credit_amount * usd_per_credit
