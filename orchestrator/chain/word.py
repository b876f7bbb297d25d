"""What a chain says about a payment that was signed and whose answer was lost."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.base.payments import Network


class ChainState(StrEnum):
    """The three things that can be known."""

    #: Nothing is certain yet, or the look did not work: look again later.
    OPEN = "open"
    #: It has moved the money.
    SETTLED = "settled"
    #: It has not, and no longer can.
    CANNOT_SETTLE = "cannot-settle"


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A signed payment, as far as a chain knows it; see SignedPayment. `since` is from before it was first sent."""

    network: Network
    payer: str
    nonce: str
    since: datetime
    valid_before: datetime | None = None
    last_valid_height: int | None = None
    after_slot: int | None = None


@dataclass(frozen=True, slots=True)
class ChainWord:
    """What a chain says; `evidence` is a JSON document of what was seen, `transaction` the one that moved the money."""

    state: ChainState
    evidence: dict[str, Any]
    transaction: str | None = None

    @property
    def is_silence(self) -> bool:
        """Whether nothing is certain because an endpoint that was asked has not answered as it should."""
        return self.state is ChainState.OPEN and any("problem" in look for look in self.evidence.get("looks", ()))


def agreed(network: Network, words: list[ChainWord]) -> ChainWord:
    """What all endpoints say together: the word of each where they agree, OPEN where they do not."""
    evidence = {"network": str(network), "looks": [word.evidence for word in words]}
    states = {word.state for word in words}
    if len(states) != 1:
        return ChainWord(ChainState.OPEN, evidence | {"disagreement": sorted(states)})
    transactions = {word.transaction for word in words if word.transaction is not None}
    return ChainWord(states.pop(), evidence, min(transactions, default=None))
