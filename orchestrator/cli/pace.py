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
    """Which of several batches run, while no worker is alive."""
    idle = [document for document in documents if document["state"] == "running" and document.get("workers") == 0]
    own = [document["batch"] for document in idle if document["sandbox"]]
    shared = [document["batch"] for document in idle if not document["sandbox"]]
    lines = [_nobody_works(batch, f"resume {batch}") for batch in own]
    if shared:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        lines.append(_nobody_works(f"{shared[0]}{more}", "worker"))
    return lines


def is_abandoned(document: dict[str, Any]) -> bool:
    """Whether a batch runs, while no worker is alive."""
    return bool(document["state"] == "running" and _progress(document).get("workers") == 0)


def _nobody(document: dict[str, Any]) -> list[Text]:
    if not is_abandoned(document):
        return []
    return [_nobody_works("it", f"resume {document['batch']}" if document["sandbox"] else "worker")]


def _nobody_works(on: str, command: str) -> Text:
    return safe(f"nobody works on {on}: no worker is alive; next: orchestrator {command}", "yellow")


def _progress(document: dict[str, Any]) -> dict[str, Any]:
    return document.get("progress") or {}
