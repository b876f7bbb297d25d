"""How long a signed payment may be sent, and when a chain's word that it cannot settle is proof. Pure."""

from datetime import datetime, timedelta
from math import inf
from typing import Any

from orchestrator.chain.word import ChainState, ChainWord
from orchestrator.receipts.receipt import OrderedPayment
from orchestrator.store.silence import STALLED

#: Nothing is sent any more so shortly before a payment is too old: it could arrive later.
MARGIN = timedelta(seconds=15)
#: About how long a blockhash holds: 150 blocks, a few of which are gone when it is final.
_BLOCKHASH_LIFE = timedelta(seconds=45)
#: Looks of one endpoint that are to agree lie at least this far apart.
LOOK_SECONDS = 60.0
#: Seconds until the same payment is sent again, by how often it was.
_AGAIN_SECONDS = (2.0, 5.0, 10.0, 30.0)


def sendable_until(payment: OrderedPayment, sent_at: datetime) -> datetime:
    """Until when a payment that was first sent at `sent_at` may be sent again."""
    return sent_at + _BLOCKHASH_LIFE if payment.valid_before is None else payment.valid_before - MARGIN


def pause_seconds(sends: int) -> float:
    """How long to wait after it was sent so many times."""
    return _AGAIN_SECONDS[min(max(sends, 1), len(_AGAIN_SECONDS)) - 1]


def noted(
    word: ChainWord, before: dict[str, Any] | None, now: datetime, *, stall_after_seconds: float = inf
) -> dict[str, Any]:
    """The evidence to keep of a look. A word that has to be said again keeps when it was first said, and a silence when
    it began, and whether it lasts for so many seconds.
    """
    if word.is_silence:
        since = (before or {}).get("silent_since") or now.isoformat()
        is_stalled = (now - datetime.fromisoformat(since)).total_seconds() >= stall_after_seconds
        return word.evidence | {"silent_since": since, STALLED: is_stalled}
    if word.state is not ChainState.CANNOT_SETTLE:
        return word.evidence
    first = (before or {}).get("first_seen_at") or now.isoformat()
    return word.evidence | {"first_seen_at": first}


def is_confirmed(word: ChainWord, before: dict[str, Any] | None, now: datetime, *, looks_needed: int) -> bool:
    """Whether it is proven that a payment cannot settle: by so many looks in a row, far enough apart."""
    if word.state is not ChainState.CANNOT_SETTLE:
        return False
    first = (before or {}).get("first_seen_at")
    if looks_needed <= 1:
        return True
    return first is not None and now >= datetime.fromisoformat(first) + timedelta(seconds=LOOK_SECONDS)
