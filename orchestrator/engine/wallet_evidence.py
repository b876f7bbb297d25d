"""What the provider's list of a wallet's transactions says about money in doubt. Pure.

It is a better witness than the balance: it names the request of each charge. A charge that is none of ours, of exactly
what is in doubt and since it was sent, may be the one whose answer was lost: the request itself has to tell. Where the
list is whole and has no charge at all that is unknown, nothing was charged. What it does not carry is no evidence.
"""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from orchestrator.base.money import ZERO
from orchestrator.katana.wallet_wire import Movement, WalletTransaction
from orchestrator.katana.wire import Answer
from orchestrator.store.doubts import Doubt, ripe_at

#: How far the provider's clock and the database's may be apart.
SKEW = timedelta(minutes=10)


def strangers(told: Sequence[WalletTransaction], ours: AbstractSet[str]) -> list[WalletTransaction]:
    """The charges for requests that we do not know; what is no certain top-up or refund may be one."""
    harmless = (Movement.TOP_UP, Movement.REFUND)
    return [entry for entry in told if entry.type not in harmless and entry.request_id not in ours]


def late_acceptances(doubts: Sequence[Doubt], unknown: Sequence[WalletTransaction]) -> list[tuple[Doubt, str]]:
    """The doubts and requests that belong together by amount and time, each alone in question for the other."""
    pairs = []
    for doubt in doubts:
        candidates = [entry for entry in unknown if _may_be_of(entry, doubt)]
        if len(candidates) != 1:
            continue
        (entry,) = candidates
        is_certain = entry.type is Movement.DEBIT and entry.amount == doubt.credits and entry.created_at is not None
        is_alone = sum(_may_be_of(entry, other) for other in doubts) == 1
        if is_certain and is_alone and entry.request_id is not None:
            pairs.append((doubt, entry.request_id))
    return pairs


def unexplained(unknown: Sequence[WalletTransaction], proven: Sequence[Decimal]) -> list[WalletTransaction]:
    """The charges beside those of lost requests of ours that are proven by other means, each by its amount."""
    amounts = Counter(proven)
    left = []
    for entry in unknown:
        if entry.amount is not None and amounts[entry.amount] > 0:
            amounts[entry.amount] -= 1
        else:
            left.append(entry)
    return left


def uncharged(doubts: Sequence[Doubt], unknown: Sequence[WalletTransaction], now: datetime) -> list[Doubt]:
    """The doubts that are old enough, where no charge is `unexplained`.

    Whatever its time: the provider's clock and the database's may be further apart than anyone thinks. Only of a list
    that `is_whole`.
    """
    return [] if unknown else [doubt for doubt in doubts if now >= ripe_at(doubt.sent_at)]


def contradicts(doubts: Sequence[Doubt], unknown: Sequence[WalletTransaction]) -> bool:
    """Whether one of the `strangers` may be a charge of what is in doubt, so that a balance at rest proves nothing."""
    return any(_is_since(entry, doubt) for entry in unknown for doubt in doubts)


def is_whole(told: Sequence[WalletTransaction], balance: Decimal) -> bool:
    """Whether nothing is missing: all movements are known and told apart, and add up to the balance."""
    if any(entry.type is None or entry.amount is None or entry.created_at is None for entry in told):
        return False
    signed = (-entry.amount if entry.type is Movement.DEBIT else entry.amount for entry in told if entry.amount)
    return sum(signed, ZERO) == balance


def echoes(answer: Answer, items: Sequence[dict[str, Any]]) -> bool:
    """Whether a request is of exactly these items, as far as its answer repeats them; their prompts have to be."""
    return len(answer.requests) == len(items) > 0 and all(
        _is_same(told, item) for told, item in zip(answer.requests, items, strict=True)
    )


def _is_same(told: dict[str, Any], item: dict[str, Any]) -> bool:
    prompt = item.get("prompt")
    if not isinstance(prompt, str) or told.get("prompt") != prompt:
        return False
    # A model may be called by another of its names, and media are told by other URLs.
    plain = {name: value for name, value in item.items() if isinstance(value, str | int | bool) and name != "model"}
    return all(str(told[name]) == str(value) for name, value in plain.items() if told.get(name) is not None)


def _may_be_of(entry: WalletTransaction, doubt: Doubt) -> bool:
    return entry.amount in (None, doubt.credits) and _is_since(entry, doubt)


def _is_since(entry: WalletTransaction, doubt: Doubt) -> bool:
    return entry.created_at is None or entry.created_at >= doubt.sent_at - SKEW
