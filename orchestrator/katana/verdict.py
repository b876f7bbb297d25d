"""What the answer to a paid POST means: one table, decided by the phase reached, not by an exception's class.

| phase and answer                                              | verdict  |
|---------------------------------------------------------------|----------|
| no byte of the request could have reached the provider        | not_sent |
| a readable 2xx with a `request_id`                             | accepted |
| of a text: a readable 2xx with a choice                       | accepted |
| a readable 2xx without one that calls every item rejected      | refused  |
| 400 401 402 403 404 413 415 422 429 with a JSON object         | refused  |
| anything else once the request began to leave                  | unknown  |

After a payment signature has left, only `accepted` is final: `refused` becomes `unknown` too. A 401 to a wallet's proof
is judged once the client has tried it with a fresh one.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.retry_after import retry_after_seconds
from orchestrator.katana.chat import Completion, parse_completion
from orchestrator.katana.problem import Problem, read_problem
from orchestrator.katana.wire import Answer, Metadata, parse_answer, parse_object
from orchestrator.katana.x402 import (
    REQUIRED_HEADER,
    RESPONSE_HEADER,
    BadRequirement,
    Offer,
    parse_requirement,
    parse_settlement,
)

#: Statuses that say "this did not start", where the body is the API's own.
REFUSALS = frozenset({400, 401, 402, 403, 404, 413, 415, 422, 429})
_REQUEST_ID = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9._-]{1,200})"')


class Kind(StrEnum):
    NOT_SENT = "not_sent"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response as it was read: whole (`body`) or broken off (`body` is None, `part` is what came)."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    part: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one paid POST."""

    kind: Kind
    reason: str
    status: int | None = None
    answer: Answer | None = None
    problem: Problem | None = None
    retry_after_seconds: float | None = None
    heard_request_id: str | None = None
    #: The receipt of an x402 payment, where one came with the answer.
    settlement: dict[str, Any] | None = None
    #: What a 402 asks for where no payment was signed: a wallet's balance lacks it.
    offers: tuple[Offer, ...] = ()
    #: The text itself, where one was asked for: it came with the answer, and there is nothing more to fetch.
    completion: Completion | None = None
    #: Not sent, and that says nothing of the provider: our own time for it was over.
    is_late: bool = False

    def document(self) -> dict[str, object]:
        """What is kept with the submission: never a header, never a body."""
        said = self.problem.document() if self.problem else None
        document: dict[str, object] = {"verdict": self.kind, "reason": self.reason, "status": self.status}
        return document | {"provider": said, "heard_request_id": self.heard_request_id}


def judge(
    *,
    sending_began: bool,
    reply: Reply | None,
    failure: str | None,
    signed: bool = False,
    item_count: int = 1,
    is_chat: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> Verdict:
    """The verdict on one paid POST.

    `sending_began`: a first byte of the request may have left. `reply`: what was read, if anything.
    `failure`: what broke, in words. `signed`: the request carried a payment signature. `item_count`: items sent.
    `is_chat`: a text was asked for, and a readable answer with a choice is final.
    """
    if reply is None:
        if not sending_began:
            return Verdict(Kind.NOT_SENT, failure or "no connection")
        return Verdict(Kind.UNKNOWN, failure or "no answer")
    if 200 <= reply.status < 300 and is_chat:
        return _judge_completion(reply)
    if 200 <= reply.status < 300:
        return _judge_success(reply, signed=signed, item_count=item_count)
    document = parse_object(reply.body) if reply.body is not None else None
    problem = read_problem(document)
    refused = reply.status in REFUSALS and document is not None and not signed
    said = f": {problem.message}" if problem else ""
    return Verdict(
        Kind.REFUSED if refused else Kind.UNKNOWN,
        f"HTTP {reply.status}{said}",
        status=reply.status,
        problem=problem,
        retry_after_seconds=retry_after_seconds(reply.headers.get("retry-after"), clock),
        heard_request_id=None if refused else _heard_request_id(reply),
        offers=_offers(reply) if refused and reply.status == 402 else (),
    )


def _offers(reply: Reply) -> tuple[Offer, ...]:
    """The ways to pay in a 402; none where it does not name them."""
    try:
        return tuple(parse_requirement(reply.headers.get(REQUIRED_HEADER)))
    except BadRequirement:
        return ()


def _heard_request_id(reply: Reply) -> str | None:
    """A request id in an answer that does not decide: evidence for a person, never believed by itself."""
    found = _REQUEST_ID.search(reply.body or reply.part)
    return found[1].decode("ascii") if found else None


def _judge_success(reply: Reply, *, signed: bool, item_count: int) -> Verdict:
    answer = parse_answer(reply.body) if reply.body is not None else None
    if answer is not None and answer.request_id is not None:
        settlement = parse_settlement(reply.headers.get(RESPONSE_HEADER))
        return Verdict(Kind.ACCEPTED, f"HTTP {reply.status}", reply.status, answer=answer, settlement=settlement)
    if answer is not None and answer.is_rejected(item_count) and not signed:
        problem = read_problem(answer.model_dump(include={"error", "responses"}))
        return Verdict(
            Kind.REFUSED, f"rejected: {problem.message if problem else 'no reason'}", reply.status, problem=problem
        )
    why = "cut short" if reply.body is None else "without a readable request_id"
    heard = _heard_request_id(reply)
    return Verdict(Kind.UNKNOWN, f"HTTP {reply.status} {why}", status=reply.status, heard_request_id=heard)


def _judge_completion(reply: Reply) -> Verdict:
    """What else may have become of a text that cannot be read here, nobody can ask."""
    completion = parse_completion(reply.body) if reply.body is not None else None
    if completion is None:
        why = "cut short" if reply.body is None else "without a readable text"
        return Verdict(Kind.UNKNOWN, f"HTTP {reply.status} {why}", status=reply.status)
    billing = completion.billing
    told = Metadata().model_copy(update={"credits_spent": billing.credits, "usdc_spent": billing.usdc})
    request_id = completion.id or f"chat-{hashlib.sha256(reply.body or b'').hexdigest()[:32]}"
    return Verdict(
        Kind.ACCEPTED,
        f"HTTP {reply.status}",
        reply.status,
        answer=Answer(request_id=request_id, status="completed").model_copy(update={"metadata": told}),
        settlement=parse_settlement(reply.headers.get(RESPONSE_HEADER)),
        completion=completion,
    )
