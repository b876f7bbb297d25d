"""Writes docs/retries.md from orchestrator/engine/policy.py: `python scripts/make_retries_doc.py > docs/retries.md`."""

from collections.abc import Iterable, Sequence
from math import inf

from orchestrator.engine import policy
from orchestrator.engine.policy import CopyRule, Effect, PollRule, PostRule
from orchestrator.katana.verdict import Kind
from orchestrator.store import breaker, pacing

EFFECTS = {
    Effect.FASTER: "grows; a run of failures is over",
    Effect.ANSWERED: "a run of failures is over",
    Effect.SLOWER: "halves and pauses; not the breaker's",
    Effect.UNREACHED: "one failure more",
    Effect.UNANSWERED: "one failure more; from the second in a row on halves and pauses",
    Effect.OVERLOADED: "one failure more; halves and pauses",
    Effect.UNCHANGED: "stays",
}
PACE = f"""\
The **pace** is shared by all workers through Postgres, and kept for each account and model: a window of jobs in flight
(`ORCHESTRATOR_MAX_IN_FLIGHT` at most; it halves, and grows by one with each window of accepted requests) and a token
bucket (none until a 429; then half the rate just achieved, and 2 % more with each accepted request until it limits
nothing). A pause lasts as long as `Retry-After` wants, or else 2, 4, 8 ... {pacing.LONGEST_PAUSE_SECONDS:g} s.
It is the model's; where a second model is refused meanwhile, or a poll is, it is the account's. One burst counts once.
What waits for its model holds up no other.

The **breaker** of an account opens after {breaker.FAILURES_TO_OPEN} failures in a row, of paid requests or of polls.
While it is open nothing is sent, polls go on, and one of the workers probes with `GET /v1/models`, after
{breaker.FIRST_PROBE_SECONDS:g} s and then ever more seldom, up to every {breaker.LONGEST_PROBE_SECONDS:g} s.
A probe or a poll that works closes it: one paid request may then be under way, then two, four, and so on. A paid
request that is lost right after a probe had worked opens it again for twice as long, up to an hour.
"""
FILES = """\
Each of several files of one job is stored once it is here and whole, and stays stored though another one fails and the
job with it. Where several fail, the line that leaves the most tries counts. The source of what is stored may expire:
only those of the others count.
"""
ENDED = """\
A job that has ended as `failed` or `rejected` never runs again by itself. The next `submit` of its collection, also a
schedule's, buys what failed for a reason that may pass; what was refused, moderated or charged it buys only with
`--again`, or changed. `orchestrator retry` runs such jobs, too, since a person says so: before it asks, it tells how
many of them were charged and gave no file, or not all, and how much. Such a job is bought as a whole: also the files of
it that are stored are made again, and those of before are its results no more. One whose payment was lost
(`payment-lost`) it runs only with `--again`. A job in doubt is never sent again before evidence or `orchestrator
resolve` has shown that it was not charged.
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def post_row(rule: PostRule) -> list[str]:
    words = {Kind.REFUSED: "refused", Kind.UNKNOWN: "unknown (answer lost, 5xx, no JSON)"}
    told = words.get(rule.kind, rule.kind.replace("_", " "))
    statuses = "" if rule.statuses is None else f" {', '.join(map(str, rule.statuses))}"
    code = "" if rule.code is None else f", `{rule.code}`"
    becomes = f"`{rule.becomes}`" + ("" if rule.hold is None else f", batch held: `{rule.hold}`")
    return [told + statuses + code, becomes, _post_again(rule), EFFECTS[rule.effect], rule.why]


def _post_again(rule: PostRule) -> str:
    if rule.again_seconds is None:
        return "it was" if rule.kind is Kind.ACCEPTED else "never"
    if rule.hold is not None:
        return "after `resume`"
    if rule.effect is Effect.SLOWER:
        return "after the pause, as often as it takes"
    return f"after {rule.again_seconds:g} s, as often as it takes"


def poll_row(rule: PollRule) -> list[str]:
    hold = "" if rule.hold is None else f"; after {rule.hold_after} in a row the batch is held: `{rule.hold}`"
    again = f"{rule.first_seconds:g}, 2, 4 ... {rule.longest_seconds:g} s{hold}"
    return [rule.when, again, f"{rule.patience_seconds / 3600:g} h", EFFECTS[rule.effect], rule.why]


def copy_row(rule: CopyRule) -> list[str]:
    ends = [f"{rule.overdue_seconds / 3600:g} h after it expired" if rule.overdue_seconds else "when it has expired"]
    ends += [] if rule.tries is None else [f"after {rule.tries} such tries"]
    until = "never" if rule.overdue_seconds == inf else f"{' or '.join(ends)}: `{rule.error}`"
    return [rule.when, until, rule.why]


def document() -> str:
    """The whole page."""
    media = f"""\
Input media that cannot be read are looked for again every {policy.MEDIA_RETRY_SECONDS:g} s; those that are not there
at all make their jobs `rejected` (`media-missing`) after `ORCHESTRATOR_STALL_AFTER`. Nothing was sent then.
"""
    post_columns = ("answer", "its jobs become", "sent again", "pace and breaker", "why")
    poll_columns = ("answer", "asked again after", "given up (`request-lost`) at an age of", "pace and breaker", "why")
    copies = (*policy.COPIES, policy.SPOOLED_ELSEWHERE, policy.OUR_FAULT)
    first, longest = policy.FIRST_COPY_RETRY_SECONDS, policy.LONGEST_COPY_RETRY_SECONDS
    return "\n".join(
        [
            "# Retries",
            "",
            "Made by `scripts/make_retries_doc.py` from `orchestrator/engine/policy.py`, the only place where this is",
            "decided; a test keeps them equal. In each table the first line that fits decides.",
            "",
            PACE,
            "## Paid requests",
            "",
            table(post_columns, map(post_row, policy.POSTS)),
            "",
            media,
            "## Polls that did not work",
            "",
            table(poll_columns, map(poll_row, policy.POLLS)),
            "",
            "## Copies that did not work",
            "",
            f"Tried again after {first:g} s, doubling up to {longest:g} s; later where the source wants it so.",
            "",
            FILES,
            table(("what went wrong", "the job fails", "why"), map(copy_row, copies)),
            "",
            "## Jobs that ended",
            "",
            ENDED,
        ]
    ).rstrip() + "\n"  # fmt: skip


if __name__ == "__main__":
    print(document(), end="")
