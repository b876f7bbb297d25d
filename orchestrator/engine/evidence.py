"""What readings of the balance say about money in doubt. Pure: times and amounts in, a judgement out.

Decisive is only what leaves no other explanation. Whatever could be one (someone else on the account, a top-up, a
refund, a charge that nobody named) leaves the doubt open: a wrong "not charged" would pay twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from orchestrator.base.money import ZERO, canonical, unit_word
from orchestrator.store.doubts import NO_BASELINE, SETTLING_SECONDS, Situation, Told, ripe_at

#: Two readings that are to agree lie at least this far apart.
GAP_SECONDS = 30.0


class Finding(StrEnum):
    """What to do about money in doubt."""

    #: It is too early, or something else of ours is under way: look again later.
    WAIT = "wait"
    #: Ask for the balance.
    READ = "read"
    #: All that is in doubt was charged.
    CHARGED = "charged"
    #: Nothing of it was.
    NOT_CHARGED = "not-charged"
    #: The balance cannot tell, now or later.
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A finding and why; `look_at` is when to look again at the earliest (None: nobody knows)."""

    finding: Finding
    reason: str
    look_at: datetime | None = None


def judge(known: Situation) -> Judgement:
    """What the readings so far say about all that an account has in doubt."""
    disqualified = _disqualified(known)
    if disqualified is not None:
        return Judgement(Finding.OPEN, disqualified)
    ripe = ripe_at(known.doubts[-1].sent_at)
    if known.last_release_at is not None:
        ripe = max(ripe, known.last_release_at + timedelta(seconds=SETTLING_SECONDS))
    if known.now < ripe:
        return Judgement(Finding.WAIT, "the provider may not have booked everything yet", ripe)
    if known.is_open:
        return Judgement(Finding.WAIT, "other work is at the provider")
    return _weigh(known, [told for told in known.readings if told.at >= ripe])


def unexplained(known: Situation, told: Told) -> Decimal:
    """What the balance fell by since the baseline beyond what the provider told us that it charged, in credits."""
    assert known.baseline is not None
    return known.baseline.credits - told.credits - told.charged


def document(known: Situation, judgement: Judgement) -> dict[str, Any]:
    """The evidence in JSON: every reading, every amount, and what they mean together."""
    return {
        "at": _instant(known.now),
        "finding": judgement.finding,
        "reason": judgement.reason,
        "in_doubt": canonical(_total(known)),
        "submissions": [
            {"id": str(doubt.submission_id), "credits": canonical(doubt.credits), "sent_at": _instant(doubt.sent_at)}
            for doubt in known.doubts
        ],
        "baseline": None
        if known.baseline is None
        else {"at": _instant(known.baseline.at), "credits": canonical(known.baseline.credits)},
        "readings": [
            {
                "at": _instant(told.at),
                "credits": canonical(told.credits),
                "charged_since_baseline": canonical(told.charged),
                "unexplained": canonical(unexplained(known, told)),
            }
            for told in known.readings
        ],
    }


def _disqualified(known: Situation) -> str | None:
    """Why no reading can tell, if so."""
    if known.baseline is None:
        return NO_BASELINE
    if any(doubt.evidence is not None for doubt in known.doubts):
        return "it could not tell about an earlier doubt that is still open"
    if known.last_release_at is not None and known.last_release_at <= known.baseline.at:
        return "a job failed shortly before the first reading, and a late refund for it could hide a charge"
    return known.uncertainty


def _weigh(known: Situation, readings: list[Told]) -> Judgement:
    if not readings:
        return Judgement(Finding.READ, "nothing of ours is at the provider any more", known.now)
    total = _total(known)
    differences = {unexplained(known, told) for told in readings}
    if len(differences) > 1 or not differences <= {ZERO, total}:
        told_of = f"{' and '.join(canonical(amount) for amount in sorted(differences))} {unit_word(known.unit)}"
        reason = f"{told_of} are unexplained where {canonical(total)} or none should be: it is shared"
        return Judgement(Finding.OPEN, reason)
    again_at = readings[0].at + timedelta(seconds=GAP_SECONDS)
    if readings[-1].at < again_at:
        return Judgement(Finding.READ, "a second reading has to agree with the first", again_at)
    if differences == {ZERO}:
        return Judgement(Finding.NOT_CHARGED, "all that the balance fell by was charged to other submissions")
    return Judgement(Finding.CHARGED, "the balance fell by exactly what is in doubt")


def _total(known: Situation) -> Decimal:
    return sum((doubt.credits for doubt in known.doubts), ZERO)


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
