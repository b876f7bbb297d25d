"""How a batch moves just now, in words: its rate, what is left, what is at the provider, and what is in its way."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from orchestrator.cli.console import safe
from orchestrator.cli.words import is_ahead, left_text, seconds_text, since_text


def rate(document: dict[str, Any]) -> list[str]:
    """`41 jobs/min`; nothing where none ended in the last minutes."""
    per_minute = _progress(document).get("ended_per_minute")
    if per_minute is None:
        return []
    return [f"{per_minute:.0f} jobs/min" if per_minute >= 10 else f"{per_minute:.1f} jobs/min"]


def left(document: dict[str, Any], age_seconds: float = 0.0) -> list[str]:
    """`7 min to 12 min left`, for a document that was read so long ago; nothing where it cannot be told."""
    remaining = _progress(document).get("remaining_seconds")
    if remaining is None:
        return []
    return [left_text(max(remaining["least"] - age_seconds, 0), max(remaining["most"] - age_seconds, 0))]


def in_flight(document: dict[str, Any], age_seconds: float = 0.0) -> list[str]:
    """How many jobs are at the provider, and when it is asked about them next."""
    progress = _progress(document)
    words = [f"{progress['in_flight']} in flight"] if progress.get("in_flight") else []
    if progress.get("next_poll_seconds") is not None and progress["workers"]:
        wait = progress["next_poll_seconds"] - age_seconds
        words.append(f"next poll in {seconds_text(wait)}" if wait >= 1 else "polling")
    return words


def troubles(document: dict[str, Any]) -> list[Text]:
    """That the provider is taken for down, wants some models later, or that nobody works on the batch."""
    return [*provider_lines(document), *_nobody(document)]


def provider_lines(document: dict[str, Any]) -> list[Text]:
    """That the provider is taken for down, or wants some models later."""
    provider = document.get("provider")
    if provider is None:
        return []
    lines = []
    if provider["down_since"] is not None:
        down = f"the provider is taken for down {since_text(provider['down_since'])}: nothing is sent"
        again = f", and it is tried again at {provider['next_probe_at']}" if is_ahead(provider["next_probe_at"]) else ""
        lines.append(Text(down + again, "yellow"))
    for pause in provider["paused"]:
        who = "the whole account" if pause["model"] is None else pause["model"]
        lines.append(safe(f"the provider wants {who} to wait: nothing of it is sent until {pause['until']}", "yellow"))
    return lines


def unattended(documents: Sequence[dict[str, Any]]) -> list[Text]:
    """Which of several batches run, while whoever they need is not there."""
    idle = [(document, missing) for document in documents if (missing := _missing(document, document))]
    lines = [_nobody_works(document, missing) for document, missing in idle if document["sandbox"]]
    for missing in dict.fromkeys(missing for document, missing in idle if not document["sandbox"]):
        first, *others = [document for document, why in idle if why == missing and not document["sandbox"]]
        lines.append(_nobody_works(first, missing, f" and {len(others)} more" if others else ""))
    return lines


def missing_worker(document: dict[str, Any]) -> str | None:
    """Who is missing for a batch to go on: any worker, or one with the keys for what it has still to send."""
    return _missing(document, _progress(document))


def _missing(document: dict[str, Any], counts: dict[str, Any]) -> str | None:
    under_way = sum(document["jobs"][state] for state in ("submitting", "generating", "copying"))
    is_running = document["state"] == "running"
    if counts.get("workers") == 0 and (is_running or (document["state"] == "paused" and under_way)):
        return "no worker is alive"
    is_unsent = document["jobs"]["waiting"] + document["jobs"]["pending"] > 0
    if is_running and counts.get("senders") == 0 and (is_unsent or document["sandbox"]):
        return "no living worker has the keys of its account"
    return None


def _nobody(document: dict[str, Any]) -> list[Text]:
    missing = missing_worker(document)
    return [_nobody_works(document, missing, is_single=True)] if missing else []


def _nobody_works(document: dict[str, Any], missing: str, more: str = "", *, is_single: bool = False) -> Text:
    command = f"resume {document['batch']}" if document["sandbox"] else "worker"
    with_keys = ", with those keys" if "keys" in missing and not document["sandbox"] else ""
    on = "it" if is_single else f"{document['batch']}{more}"
    return safe(f"nobody works on {on}: {missing}; next: orchestrator {command}{with_keys}", "yellow")


def _progress(document: dict[str, Any]) -> dict[str, Any]:
    return document.get("progress") or {}
