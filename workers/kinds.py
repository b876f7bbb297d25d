"""The kinds of work. Each is a task and a queue of the same name, so that `-Q submit,poll` makes a worker for two."""

STEPS = ("submit", "poll", "copy")
SETTLE = "settle"
KINDS = (*STEPS, SETTLE)
