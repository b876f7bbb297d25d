"""The kinds of work. Each is a task and a queue of the same name, so that `-Q submit,poll` makes a worker for two."""

from typing import Any

SETTLE = "settle"
KINDS = ("submit", "poll", "copy", SETTLE)


def kinds_of(app: Any) -> frozenset[str]:
    """The kinds of work that this process reads hints of."""
    return frozenset(KINDS) & frozenset(app.amqp.queues.consume_from)


#: When a hint may be dropped unread. It is harmless however old it is; this only clears a queue that nobody has read
#: from for long, and is far longer than the clocks of two machines differ.
HINT_EXPIRES_SECONDS = 900
