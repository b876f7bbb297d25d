"""Acceptance: judged items become a request whose whole future is fixed, so that a restart changes nothing."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from orchestrator.sandbox.judge import Judgement
from orchestrator.sandbox.records import ItemError, Job, Outcome, RequestAccepted, Settlement

FAIL_MARKER = "[sandbox:fail]"
MODERATION_MARKER = "[sandbox:moderation]"

_PROVIDER_FAILED = ItemError(code="generation_failed", message="sandbox: the generation failed")
_MODERATED = ItemError(code="moderation", message="sandbox: the content was refused by moderation")
_QUEUE_SECONDS = (0.3, 1.0)
_WORK_SECONDS = {"image": (4.0, 12.0), "video": (20.0, 60.0)}
_POLL_AFTER_SECONDS = {"image": 2.0, "video": 5.0}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the sandbox works and how long its assets last."""

    time_scale: float = 1.0
    asset_lifetime_seconds: float = 72 * 3600.0


def accept(
    verdicts: list[Judgement],
    *,
    account: str,
    body_sha256: str,
    now: float,
    pace: Pace,
    fail_every_second: bool = False,
    usdc: Sequence[Decimal] | None = None,
    payment: Settlement | None = None,
) -> RequestAccepted:
    """The request that these items make. Rejected items are part of it and end at once.

    `usdc` is what is charged for each of them where the account is counted in USDC.
    """
    request_id = str(uuid.uuid4())
    dice = random.Random(request_id)
    charged: Sequence[Decimal | None] = usdc or [None] * len(verdicts)
    jobs = tuple(
        _job(verdict, charged[index], dice, now, pace, fail=fail_every_second and index % 2 == 1)
        for index, verdict in enumerate(verdicts)
    )
    kinds = {verdict.type for verdict in verdicts}
    poll_after = _POLL_AFTER_SECONDS["image" if "image" in kinds else "video"] * pace.time_scale
    return RequestAccepted(
        at=now,
        request_id=request_id,
        account=account,
        body_sha256=body_sha256,
        poll_after_seconds=round(poll_after, 3),
        jobs=jobs,
        payment=payment,
    )


def _job(verdict: Judgement, usdc: Decimal | None, dice: random.Random, now: float, pace: Pace, *, fail: bool) -> Job:
    if verdict.error is not None or verdict.type is None:
        outcome: Outcome = "rejected"
        error, started_at, finished_at = verdict.error, now, now
    else:
        outcome, error = _fate(verdict.prompt, fail)
        started_at = now + dice.uniform(*_QUEUE_SECONDS) * pace.time_scale
        finished_at = started_at + dice.uniform(*_WORK_SECONDS[verdict.type]) * pace.time_scale
    return Job(
        job_id=str(uuid.uuid4()),
        item=verdict.echo,
        type=verdict.type,
        model=verdict.model,
        prompt=verdict.prompt,
        outcome=outcome,
        credits=verdict.credits,
        usdc=usdc,
        output=verdict.output if outcome == "completed" else None,
        error=error,
        started_at=started_at,
        finished_at=finished_at,
        expires_at=finished_at + pace.asset_lifetime_seconds,
    )


def _fate(prompt: str, fail: bool) -> tuple[Outcome, ItemError | None]:
    if MODERATION_MARKER in prompt:
        return "failed", _MODERATED
    if fail or FAIL_MARKER in prompt:
        return "failed", _PROVIDER_FAILED
    return "completed", None
