"""Structured logs: the closed vocabulary of what is told, one line of JSON each, and no secret in any of them."""

import json
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class LogEvent(StrEnum):
    """What a line of the log is about: its `event`."""

    #: A job's request is about to be sent; its money is reserved.
    JOB_SUBMITTED = "job-submitted"
    #: The provider took it, and it has a request id.
    JOB_ACCEPTED = "job-accepted"
    #: The provider is done with it; its files are to be fetched.
    JOB_MADE = "job-made"
    #: Its files are stored and verified.
    JOB_STORED = "job-stored"
    JOB_FAILED = "job-failed"
    JOB_REJECTED = "job-rejected"
    #: It may have been paid for, and the answer was lost.
    JOB_IN_DOUBT = "job-in-doubt"
    JOB_CANCELLED = "job-cancelled"
    JOB_SKIPPED = "job-skipped"
    #: It may be sent: for the first time, or again.
    JOB_PENDING = "job-pending"
    JOB_WAITING = "job-waiting"
    #: What became of a request whose answer was lost is known: its `finding`.
    DOUBT_SETTLED = "doubt-settled"
    #: A batch was stored, or goes on.
    BATCH_RUNNING = "batch-running"
    BATCH_PAUSED = "batch-paused"
    #: Nothing of it can move without a person.
    BATCH_HELD = "batch-held"
    #: It ended, in this `state`.
    BATCH_ENDED = "batch-ended"
    #: The provider is taken for down; nothing is sent.
    BREAKER_OPENED = "breaker-opened"
    BREAKER_CLOSED = "breaker-closed"
    #: A worker died, and what it had was taken up.
    WORKER_DIED = "worker-died"
    WORKER_STARTED = "worker-started"
    #: It was asked to stop: it finishes what was paid for.
    WORKER_DRAINING = "worker-draining"
    #: What was paid for is recorded, and its process ends; one that was killed tells nothing.
    WORKER_STOPPED = "worker-stopped"
    #: This worker leads from now on.
    LEADER_BEGAN = "leader-began"
    LEADER_ENDED = "leader-ended"
    #: The ledger does not balance with the jobs.
    LEDGER_UNBALANCED = "ledger-unbalanced"
    SCHEDULE_RAN = "schedule-ran"
    SCHEDULE_FAILED = "schedule-failed"
    #: A notification was not taken by its receiver; the message says whether it is given up.
    NOTICE_REFUSED = "notice-refused"
    DATABASE_OUT_OF_REACH = "database-out-of-reach"
    BROKER_OUT_OF_REACH = "broker-out-of-reach"
    #: An exception that nobody foresaw, with its traceback.
    FAULT = "fault"
    #: Anything else worth a sentence, by us or by a library.
    NOTE = "note"


def as_event(event: LogEvent, **facts: Any) -> dict[str, Any]:
    """The `extra` of a log call whose line is of this event, with ids and numbers under names of their own."""
    return {"event": event, "facts": facts}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: `at level event message logger`, then its facts, such as batch, job, request_id.

    `redact` sees each text before it is encoded: what it takes for the end of a secret is none of JSON's own marks.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        named = getattr(record, "event", None)
        event = named if isinstance(named, LogEvent) else LogEvent.FAULT if record.exc_info else LogEvent.NOTE
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": event.value,
            "message": self._redact(record.getMessage()),
            "logger": record.name,
        }
        facts = getattr(record, "facts", {})
        line |= {name: self._redacted(name, fact) for name, fact in facts.items() if fact is not None}
        if record.exc_info:
            line["exception"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)

    def _redacted(self, name: str, fact: Any) -> Any:
        """A fact for JSON. Its name tells whether a text is a secret, or public, such as the hash of a transaction."""
        match fact:
            case None | bool() | int() | float():
                return fact
            case dict():
                return {str(key): self._redacted(str(key), value) for key, value in fact.items()}
            case list() | tuple():
                return [self._redacted(name, value) for value in fact]
        said = f"{name}: "
        return self._redact(f"{said}{fact}").removeprefix(said)


#: What stands for a secret.
MASK = "***"
_SHORTEST_SECRET = 6
_PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # Whatever a URL carries besides its place: signed ones are as good as the file. And its password.
    (re.compile(r"(\bhttps?://[^\s?\"'<>\\]+\?)[^\s\"'<>\\]+"), rf"\1{MASK}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,15}://)[^\s/@\"'<>\\]+@"), rf"\1{MASK}@"),
    # One with a slash in it, as nobody should write it; of a web page that may be its place.
    (re.compile(r"(\b(?!https?:)[a-z][a-z0-9+.-]{0,15}://)[^\s/@:\"'<>\\]*:[^\s@\"'<>\\]+@"), rf"\1{MASK}@"),
    # A header or variable that is named like a secret.
    (
        re.compile(
            r"((?:authorization|x-api-(?:key|secret)|payment-signature|x-payment|[a-z0-9_-]*"
            r"(?:api_?key|secret|password|private_?key|signature))(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?"
            r"(?:bearer |basic )?)(?:[^\s\"',;&}\\]|\\(?!\\*[\"'])){6,}",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # Signed payments and tokens in base64 or base58. A hash in hexadecimal is none, nor is the place of a file, nor
    # what is told to be a transaction: that one is public, and evidence.
    (
        re.compile(
            r"(\b[a-z][a-z0-9+.-]{0,15}://[^\s\"'<>\\]+|\btransaction(?:\\*\")?: (?:\\*\")?\w+)"
            r"|\b(?![0-9a-fA-F]+\b)[A-Za-z0-9+/_-]{80,}={0,2}"
        ),
        lambda found: found[1] or MASK,
    ),
)


def written(secret: str) -> set[str]:
    """How it may stand in a text: as it is, and as in JSON."""
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Masks these secrets, and whatever looks like one, in a text."""
    forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in written(secret)}
    known = sorted(map(re.escape, forms), key=len, reverse=True)
    exact = re.compile("|".join(known)) if known else None

    def redact(text: str) -> str:
        if exact is not None:
            text = exact.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    return redact


class Redacting(logging.Formatter):
    """Another formatter's lines of text, tracebacks included, without secrets."""

    def __init__(self, inner: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._inner.format(record))
