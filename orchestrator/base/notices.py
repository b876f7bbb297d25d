"""What people can be told of, and in which form: the words of a manifest's `notify`."""

from enum import StrEnum
from urllib.parse import urlsplit

from orchestrator.base.urls import is_loopback


class NoticeEvent(StrEnum):
    """What a notification is about."""

    #: A batch ended.
    FINISHED = "finished"
    #: A hold was put on a batch.
    HELD = "held"
    #: Most of a batch's budget, or of a cap of its account, is used.
    BUDGET = "budget"
    #: Finished files are not stored yet, and their sources expire soon.
    EXPIRING = "expiring"
    #: A slot of a schedule gave no batch.
    SCHEDULE_FAILED = "schedule-failed"


#: What an entry of `notify` without `on` tells.
USUAL_EVENTS = (NoticeEvent.FINISHED, NoticeEvent.HELD)


class NoticeStyle(StrEnum):
    """What is sent to a URL. The first two are the keys of an entry of `notify` that name it."""

    #: A signed JSON document.
    WEBHOOK = "webhook"
    #: `{"text": ...}`, as Slack and what is compatible with it take it.
    SLACK = "slack"
    #: An empty GET: that it comes is the message.
    HEARTBEAT = "heartbeat"


#: Characters of the longest URL that is told anything.
MAX_URL_LENGTH = 2000


def may_be_sent_to(url: str) -> bool:
    """Whether a notification may go there: encrypted, or on this machine, at a URL of at most `MAX_URL_LENGTH`."""
    try:
        parts = urlsplit(url)
        has_good_port = parts.port != 0
    except ValueError:
        return False
    host = parts.hostname or ""
    is_kept_secret = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    return len(url) <= MAX_URL_LENGTH and bool(host) and has_good_port and is_kept_secret


def url_fault(what: str) -> str:
    """What is said of a URL that nothing may be sent to; it does not show the URL."""
    return (
        f"`{what}` must be an https:// URL of at most {MAX_URL_LENGTH:,} characters (http:// is for this machine only)"
    )


def host_of(url: str) -> str:
    """All of a notification's URL that may be shown: the rest is as good as a password."""
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no host"
