"""What follows from each answer: one table for paid POSTs, one for polls, one for copies. Data and look-ups, no more.

The first rule that fits decides. `docs/retries.md` is made from these tables.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from orchestrator.assets.errors import (
    AddressRefused,
    AssetError,
    CorruptAsset,
    DestinationFailed,
    NotAnAsset,
    SourceGone,
    SpoolFailed,
)
from orchestrator.base.states import HoldCode, JobError, JobState
from orchestrator.katana.verdict import Kind, Verdict

HOUR_SECONDS = 3600.0


class Effect(StrEnum):
    """What an answer does to the pace of its model and to the breaker of its account."""

    #: The windows and rates grow; a run of failures is over.
    FASTER = "faster"
    #: The API itself answered: a run of failures is over.
    ANSWERED = "answered"
    #: The window and the rate are halved and the model pauses; the whole account where a second model is refused. The
    #: breaker stays as it is.
    SLOWER = "slower"
    #: One more failure in a row; the fifth opens the breaker.
    UNREACHED = "unreached"
    #: One more failure in a row; from the second on also slower.
    UNANSWERED = "unanswered"
    #: One more failure in a row, and slower.
    OVERLOADED = "overloaded"
    #: Nothing: it may have come from a proxy on the way.
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class PostRule:
    """What follows from the verdict on a paid POST.

    It fits verdicts of `kind`, of one of `statuses` and filed under `code` (None: any). Its jobs become `becomes`, the
    batch is put on `hold`. `again_seconds`: when a pending job is due again, as often as it takes (where there is a
    hold: once that is lifted).
    """

    kind: Kind
    becomes: JobState
    effect: Effect
    why: str
    statuses: tuple[int, ...] | None = None
    code: JobError | None = None
    hold: HoldCode | None = None
    again_seconds: float | None = None


POSTS = (
    PostRule(Kind.ACCEPTED, JobState.GENERATING, Effect.FASTER, "it is paid for, and polled until it is final"),
    PostRule(
        Kind.NOT_SENT,
        JobState.PENDING,
        Effect.UNREACHED,
        "no byte of it left, so nothing can have been charged",
        again_seconds=2,
    ),
    PostRule(
        Kind.REFUSED,
        JobState.PENDING,
        Effect.SLOWER,
        "the provider wants it later, when the pause is over",
        statuses=(429,),
        again_seconds=0,
    ),
    PostRule(
        Kind.REFUSED,
        JobState.PENDING,
        Effect.ANSWERED,
        "the provider wants payment: more credits are needed",
        statuses=(402,),
        hold=HoldCode.BALANCE_LOW,
        again_seconds=0,
    ),
    PostRule(
        Kind.REFUSED,
        JobState.PENDING,
        Effect.ANSWERED,
        "the provider wants payment: more credits are needed",
        statuses=(403,),
        code=JobError.INSUFFICIENT_CREDITS,
        hold=HoldCode.BALANCE_LOW,
        again_seconds=0,
    ),
    PostRule(
        Kind.REFUSED,
        JobState.REJECTED,
        Effect.ANSWERED,
        "its content was refused, and would be again; nothing was charged",
        statuses=(401, 403),
        code=JobError.MODERATION,
    ),
    PostRule(
        Kind.REFUSED,
        JobState.PENDING,
        Effect.ANSWERED,
        "the provider refuses us, not the job: the key is wrong or was withdrawn, or the wallet is not let in",
        statuses=(401, 403),
        hold=HoldCode.PROVIDER_REFUSING,
        again_seconds=0,
    ),
    PostRule(
        Kind.REFUSED,
        JobState.REJECTED,
        Effect.ANSWERED,
        "the job itself was refused, and would be again; nothing was charged",
    ),
    PostRule(
        Kind.UNKNOWN,
        JobState.IN_DOUBT,
        Effect.SLOWER,
        "not in the API's own words, so that it may have been charged all the same",
        statuses=(429,),
    ),
    PostRule(
        Kind.UNKNOWN,
        JobState.IN_DOUBT,
        Effect.OVERLOADED,
        "it may have been charged: evidence or a person settles it, it is never sent again by itself",
        statuses=(503, 529),
    ),
    PostRule(
        Kind.UNKNOWN,
        JobState.IN_DOUBT,
        Effect.UNANSWERED,
        "it may have been charged: evidence or a person settles it, it is never sent again by itself",
    ),
)


#: Input media that cannot be read are looked for again after this long; after `ORCHESTRATOR_STALL_AFTER` those that are
#: not there at all make their jobs `rejected`.
MEDIA_RETRY_SECONDS = 15.0


def on_post(verdict: Verdict) -> PostRule:
    """The rule for the verdict on a paid POST."""
    code = filed_under(verdict)
    return next(
        rule
        for rule in POSTS
        if rule.kind is verdict.kind
        and (rule.statuses is None or verdict.status in rule.statuses)
        and rule.code in (None, code)
    )


def filed_under(verdict: Verdict) -> JobError:
    """The error code of a refused POST."""
    return verdict.problem.filed_under(JobError.REJECTED_INPUT) if verdict.problem else JobError.REJECTED_INPUT


#: The provider keeps results at most this long (guide, "Service URLs and Account Setup").
KEPT_SECONDS = 72 * HOUR_SECONDS
#: A request that nothing could be learned of in that time is asked about for this much longer.
_BLIND_SECONDS = KEPT_SECONDS + 24 * HOUR_SECONDS
#: So many refused polls in a row are no mishap of a proxy on the way.
REFUSED_POLLS = 5


@dataclass(frozen=True, slots=True)
class PollRule:
    """What follows from a poll that did not work; it is tried again after `first_seconds`, doubling up to the longest.

    `statuses`: the HTTP statuses it fits; None is no answer at all. `hold_after` failures in a row put the batch on
    `hold`. A request older than `patience_seconds` is given up (`request-lost`, its cost kept).
    """

    when: str
    statuses: tuple[int | None, ...]
    effect: Effect
    why: str
    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    patience_seconds: float = _BLIND_SECONDS
    hold: HoldCode | None = None
    hold_after: int = 0


POLLS = (
    PollRule("429", (429,), Effect.SLOWER, "the provider wants fewer calls: the whole account pauses"),
    PollRule(
        "401, 403",
        (401, 403),
        Effect.UNCHANGED,
        "five in a row are no mishap of a proxy on the way: the key or the wallet is not let in (any more)",
        hold=HoldCode.PROVIDER_REFUSING,
        hold_after=REFUSED_POLLS,
    ),
    PollRule(
        "404",
        (404,),
        Effect.UNCHANGED,
        "not yet, or lost: an unbroken run of it ends the patience (`ORCHESTRATOR_REQUEST_LOST_AFTER`)",
        patience_seconds=KEPT_SECONDS,
    ),
    PollRule(
        "no answer, or 5xx",
        (None, *range(500, 600)),
        Effect.UNREACHED,
        "the provider is out of reach: what was paid for waits for it, and nothing new is paid for",
        longest_seconds=60.0,
    ),
    PollRule("anything else", (), Effect.UNCHANGED, "an answer that cannot be read says nothing of the request"),
)


def on_poll(status: int | None) -> PollRule:
    """The rule for a poll that did not work."""
    return next((rule for rule in POLLS if status in rule.statuses), POLLS[-1])


@dataclass(frozen=True, slots=True)
class CopyRule:
    """What follows from a failed copy; it is tried again after half a second, doubling up to a minute.

    The job fails with `error` once its source has been expired for `overdue_seconds`, or after `tries` tries that
    failed in this way (None: not by their number).
    """

    errors: tuple[type[AssetError], ...]
    when: str
    why: str
    error: JobError = JobError.ASSET_EXPIRED
    overdue_seconds: float = 0.0
    tries: int | None = None


FIRST_COPY_RETRY_SECONDS = 0.5
LONGEST_COPY_RETRY_SECONDS = 60.0
COPIES = (
    CopyRule(
        (DestinationFailed, SpoolFailed),
        "the destination or the spool does not take it",
        "it is ours to mend: the batch is held once it has lasted (`ORCHESTRATOR_STALL_AFTER`)",
        error=JobError.DESTINATION_FAILED,
        overdue_seconds=inf,
    ),
    CopyRule((SourceGone,), "the source answers 401, 403, 404 or 410", "before it expires it may be a mishap"),
    CopyRule(
        (NotAnAsset,),
        "nothing, or an error page, in place of a file",
        "likely a mishap on the way: a quarter of an hour of tries",
        error=JobError.ASSET_CORRUPT,
        tries=20,
    ),
    CopyRule(
        (AddressRefused,),
        "an address that we never connect to",
        "likely a mishap on the way: a quarter of an hour of tries",
        tries=20,
    ),
    CopyRule(
        (CorruptAsset,),
        "it does not decode",
        "what does not after about a minute of tries never will",
        error=JobError.ASSET_CORRUPT,
        tries=8,
    ),
    CopyRule(
        (AssetError,),
        "the source stumbles (no network, 429, 5xx, cut short)",
        "it may come back, and clocks may be off",
        overdue_seconds=HOUR_SECONDS,
    ),
)
SPOOLED_ELSEWHERE = CopyRule(
    (AssetError,),
    "no source, and another machine has the file in its spool",
    "it is verified and waits there",
    overdue_seconds=7 * 24 * HOUR_SECONDS,
)
OUR_FAULT = CopyRule(
    (),
    "a fault of ours",
    "a restart or an update may mend it, while there is a source",
    error=JobError.UNKNOWN,
    overdue_seconds=HOUR_SECONDS,
)


def on_copy(error: AssetError) -> CopyRule:
    """The rule for a copy that did not work."""
    return next(rule for rule in COPIES if isinstance(error, rule.errors))
