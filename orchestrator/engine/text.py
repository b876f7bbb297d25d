"""A text that was answered: its result, its charge and its end are recorded in the transaction that takes it.

There is nothing to poll and nothing to fetch: what is not written down here is lost, and a lost answer leaves its job
in doubt like any other.
"""

import json
from decimal import Decimal
from typing import Any

from orchestrator.base.states import JobError, JobState
from orchestrator.engine.answers import job_error
from orchestrator.engine.tariff import tariffs_of
from orchestrator.katana.chat import Completion
from orchestrator.katana.problem import Problem
from orchestrator.katana.verdict import Verdict
from orchestrator.katana.x402 import receipt_of
from orchestrator.store import polling, sending
from orchestrator.store.database import Connection
from orchestrator.store.polling import ItemOutcome, Source
from orchestrator.store.replaying import Posted

#: The label of a text that ends where its tokens did.
CUT_LABEL = {"finish_reason": "length"}
TEXT_TYPE = "text/plain; charset=utf-8"
JSON_TYPE = "application/json"
_JSON_FORMATS = ("json_object", "json_schema")
_LONGEST_EXCERPT = 500


def record_text(connection: Connection, work: Posted, verdict: Verdict) -> bool:
    """Take the answer of a text job whole. False where its submission was settled before.

    Of two answers with one id each counts: the provider's id is kept where it is free.
    """
    completion, answer = verdict.completion, verdict.answer
    assert completion is not None
    assert answer is not None
    ids = (answer.request_id, f"{answer.request_id}/{work.id}")
    taken = any(_accept(connection, work, verdict, request_id) for request_id in ids if request_id is not None)
    if not taken:
        return False
    items = polling.open_items(connection, [work.id])[work.id]
    charges = tariffs_of(connection, [work.id])[work.id].charges(answer, items, final=True)
    outcomes = [
        read_text(completion, work.jobs[position].item, position, price, charges.get(position))
        for position, price in items
    ]
    polling.record_outcomes(connection, {work.id: outcomes}, follow_prices=False)
    polling.resolve_finished(connection, {work.id: answer.status})
    return True


def _accept(connection: Connection, work: Posted, verdict: Verdict, request_id: str) -> bool:
    acceptance = sending.Acceptance(
        work.id,
        request_id=request_id,
        provider_status="completed",
        answer=verdict.document(),
        poll_in_seconds=0,
        settlement=receipt_of(verdict.settlement),
    )
    return bool(sending.record_accepted(connection, [acceptance]))


def read_text(
    completion: Completion, item: dict[str, Any], position: int, price: Decimal, charge: Decimal | None
) -> ItemOutcome:
    """What became of a text job. Pure. An answer that its tokens cut short is a result, with a label that says so."""
    spent = price if charge is None else charge
    wants_json = _wants_json(item)
    error = _error(completion, spent, wants_json=wants_json)
    if error is not None:
        return ItemOutcome(position, JobState.FAILED, spent, error=error, is_told=charge is not None)
    source = Source(
        position=0,
        role="original",
        kind="text",
        url="",
        expires_at=None,
        declared_mime=JSON_TYPE if wants_json or completion.is_json else TEXT_TYPE,
        tags=[completion.document()],
        content=completion.text,
    )
    labels = CUT_LABEL if completion.is_cut else {}
    return ItemOutcome(position, JobState.COPYING, spent, sources=(source,), is_told=charge is not None, labels=labels)


def _error(completion: Completion, spent: Decimal, *, wants_json: bool) -> dict[str, Any] | None:
    """Why an answer is no result; what it cost is spent all the same."""
    charged = spent > 0
    said = completion.problem or _excerpt(completion)
    if completion.is_filtered:
        message = completion.problem.message if completion.problem else "its content was refused"
        return job_error(JobError.MODERATION, message, charged=charged, provider=said)
    if completion.problem is not None:
        code = completion.problem.filed_under(JobError.PROVIDER_FAILED)
        return job_error(code, completion.problem.message, charged=charged, provider=said)
    if not completion.text.strip():
        message = f"answered without any text ({completion.finish_reason or 'no reason'})"
        return job_error(JobError.PROVIDER_FAILED, message, charged=charged)
    if wants_json and not completion.is_json and not _is_json(completion.text):
        why = ": its tokens were not enough" if completion.is_cut else ""
        return job_error(JobError.ASSET_CORRUPT, f"the answer is no JSON{why}", charged=charged, provider=said)
    return None


def _wants_json(item: dict[str, Any]) -> bool:
    wanted = item.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in _JSON_FORMATS


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _excerpt(completion: Completion) -> Problem | None:
    """The beginning of a text that is not stored."""
    text = completion.text[:_LONGEST_EXCERPT]
    return Problem(completion.finish_reason, text) if text.strip() else None
