"""How money, times and places are written for people."""

from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.base.money import canonical, unit_word
from orchestrator.base.payments import from_atomic

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def credits_text(credits_amount: str, usd: str | None = None) -> str:
    """`14 credits (~$0.0728)`; the amounts are canonical strings."""
    return f"{credits_amount} credits" + (f" (~${usd})" if usd is not None else "")


def money(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The amounts of a batch's or job's document, and their unit."""
    usdc = document["usdc"]
    return (document["credits"], "credits") if usdc is None else (usdc, "usdc")


def money_text(amount: str, unit: str, usd: str | None = None) -> str:
    """`14 credits (~$0.0728)`, `0.013938 USDC` (which are dollars already); the amounts are canonical strings."""
    return credits_text(amount, usd) if unit == "credits" else f"{amount} {unit_word(unit)}"


def payment_text(payment: dict[str, Any]) -> str:
    """A signed payment in a few words: how much, on which network, and what became of it."""
    amount = money_text(canonical(from_atomic(int(payment["amount_atomic"]))), "usdc")
    transaction = f", transaction {payment['transaction']}" if payment["transaction"] else ""
    return f"a payment of {amount} on {payment['network']} is {payment['state']}{transaction}"


def percent(fraction: Decimal) -> str:
    """`2.5%` for 0.025."""
    return f"{canonical(fraction * 100)}%"


def counted(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {noun}" + ("" if number == 1 else "s" if not noun.endswith("ch") else "es")


def ago(at: str | None) -> str:
    """How long ago an RFC 3339 instant was; empty for none."""
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    for unit_seconds, unit in _UNITS:
        if seconds >= unit_seconds:
            return f"{int(seconds // unit_seconds)} {unit} ago"
    return "just now"


def seconds_text(seconds: float) -> str:
    """A length of time as far as it matters: `8 s`, `90 s`, `7 min`, `3 h 10 min`, `2 d 4 h`."""
    if seconds < 120 and seconds != 60:
        return f"{ceil(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes // 10 * 10, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def left_text(least_seconds: float, most_seconds: float) -> str:
    """`7 min to 12 min left`, `less than 40 s left`; a display of it does not jump with each second."""
    step = 10 if most_seconds < 120 else 60
    least, most = least_seconds // step * step, ceil(most_seconds / step) * step
    if least == 0:
        return f"less than {seconds_text(max(most, step))} left"
    if seconds_text(least) == seconds_text(most):
        return f"about {seconds_text(most)} left"
    return f"{seconds_text(least)} to {seconds_text(most)} left"


def is_ahead(at: str | None) -> bool:
    """Whether an RFC 3339 instant is still to come."""
    return at is not None and datetime.fromisoformat(at) > datetime.now(UTC)


def since_text(at: str) -> str:
    """`since 2026-11-23 06:40 UTC (3 h ago)` for an RFC 3339 instant."""
    return f"since {datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC ({ago(at)})"


def elapsed(seconds: float) -> str:
    """`0:07`, `12:40`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def elapsed_between(start: str | None, end: str | None) -> str:
    """The time between two RFC 3339 instants; empty where one is missing."""
    if start is None or end is None:
        return ""
    return elapsed((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def elapsed_since(start: str) -> str:
    """The time since an RFC 3339 instant; `0:00` where this machine's clock is behind the database's."""
    return elapsed(max((datetime.now(UTC) - datetime.fromisoformat(start)).total_seconds(), 0.0))


def place(uri: str) -> str:
    """A local `file://` URI as the path it means; any other as it is."""
    return unquote(urlsplit(uri).path) if uri.startswith("file:") else uri


def state_counts(document: dict[str, Any]) -> str:
    """`3 generating · 11 completed`, the states that jobs are in."""
    counts = ((state, number) for state, number in document["jobs"].items() if state != "total" and number)
    return " · ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts)


def under_way(document: dict[str, Any]) -> int:
    """How many jobs of a batch were paid for, or may have been just now, and are not fetched yet."""
    return sum(int(document["jobs"][state]) for state in ("submitting", "generating", "copying"))


def value_text(value: Any) -> str:
    """A value of a model's document in words; a mapping is by seconds."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "-"
        case dict():
            return ", ".join(f"{key} s: {amount}" for key, amount in value.items()) or "-"
        case _:
            return str(value)
