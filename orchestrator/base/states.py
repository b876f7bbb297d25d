"""The states of a batch, a job and a submission, and every transition that is allowed.

One table for code, database checks and docs/states.md; tests hold all three against it. Reasons (why a job
failed, why a batch is held) stand beside the state, never in it.
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where one item of a manifest is."""

    #: Held back by a dependency, gate or canary. The engine moves it on; it may stay for ever; a crash means nothing.
    WAITING = "waiting"
    #: Nothing was sent. `submit` takes it when there is room and money; it may stay for ever; a crash means nothing.
    PENDING = "pending"
    #: Its submission is written and money reserved. Lasts as long as one POST; a crash before the first byte puts
    #: it back to pending, any later one makes it in_doubt.
    SUBMITTING = "submitting"
    #: Paid, with a request id. `poll` moves it on; at most 72 h; a crash means nothing.
    GENERATING = "generating"
    #: The provider is done, its assets are known. `copy` moves it on until they expire; a crash means nothing.
    COPYING = "copying"
    #: All its originals are stored and verified. Final.
    COMPLETED = "completed"
    #: It may have been paid for and gave no asset. Final until someone asks for a retry.
    FAILED = "failed"
    #: The provider refused it and charged nothing. Final until someone asks for a retry.
    REJECTED = "rejected"
    #: It was sent and the answer is unknown. Evidence or a person moves it on; never paid again by itself: where
    #: its request carries a payment, that very payment is sent again, and another one only once it is proven void.
    IN_DOUBT = "in_doubt"
    #: Taken back before anything was sent. Final.
    CANCELLED = "cancelled"
    #: Not worth sending: its dependency failed, or it failed before and has not changed. Final until a retry.
    SKIPPED = "skipped"


class SubmissionState(StrEnum):
    """Where one paid POST of ours is."""

    #: Written with its reserve; no byte has left. `mark_sent` moves it on; after a crash it is `not_sent`.
    INTENDED = "intended"
    #: Bytes may have left. Lasts as long as one POST; after a crash it is `unknown`.
    SENT = "sent"
    #: The provider answered with a request id; it is polled until its answer is final.
    ACCEPTED = "accepted"
    #: The provider said that it did not start. Final; the reserve is released.
    REFUSED = "refused"
    #: No byte could have reached the provider. Final; the reserve is released.
    NOT_SENT = "not_sent"
    #: Sent, and no answer that decides. Its jobs are in doubt and its reserve stands.
    UNKNOWN = "unknown"
    #: The provider's final answer is recorded (or a person settled an unknown one). Final.
    RESOLVED = "resolved"


class BatchState(StrEnum):
    """Where one run of a manifest is."""

    #: Something can still move by itself.
    RUNNING = "running"
    #: A person stopped what was not sent yet; `resume` goes on.
    PAUSED = "paused"
    #: Nothing more can move without a person; its holds say why and what to do.
    HELD = "held"
    #: All jobs are completed or skipped. Final.
    COMPLETED = "completed"
    #: Some jobs are completed, some are not. Final until a retry.
    PARTIAL_FAILURE = "partial_failure"
    #: No job is completed. Final until a retry.
    FAILED = "failed"
    #: A person took back what was not sent. Final.
    CANCELLED = "cancelled"


class HoldCode(StrEnum):
    """Why a batch is held."""

    IN_DOUBT = "in-doubt"
    BUDGET_REACHED = "budget-reached"
    BALANCE_LOW = "balance-low"
    CANARY = "canary"
    PRICE_CHANGED = "price-changed"
    STOP_WHEN = "stop-when"
    GATE = "gate"
    UNUSUAL_WORK = "unusual-work"
    #: The guard found something in an offer that nothing is signed for.
    PAYMENT_REFUSED = "payment-refused"
    DESTINATION_FAILING = "destination-failing"
    PROVIDER_REFUSING = "provider-refusing"


class Book(StrEnum):
    """Where a credit is, as the ledger keeps it: every entry moves an amount from one book to another."""

    #: With the provider, free to be used.
    AVAILABLE = "available"
    #: Set aside for a submission that is written, under way or accepted.
    RESERVED = "reserved"
    #: Perhaps charged: the answer to its submission was lost.
    IN_DOUBT = "in_doubt"
    #: Charged by the provider, in its own words or at its worst case.
    SPENT = "spent"
    #: Taken for charged, and nothing can be fetched for it.
    LOST = "lost"


class EntryKind(StrEnum):
    """What a movement in the ledger is."""

    #: available → reserved, in the transaction that writes the submission.
    RESERVE = "reserve"
    #: reserved → spent; what passes the reserve comes from available.
    CHARGE = "charge"
    #: reserved or in_doubt → available: not charged after all.
    RELEASE = "release"
    #: reserved → in_doubt: the answer was lost.
    DOUBT = "doubt"
    #: in_doubt → reserved: the answer came late, or was found.
    CLEAR = "clear"
    #: in_doubt → lost: taken for charged, with nothing to fetch.
    LOSS = "loss"
    #: lost → available: a person or a request that was found says that it was not lost after all.
    REFUND = "refund"


class SettledBy(StrEnum):
    """On whose word a submission's charge rests."""

    #: The provider named it.
    PROVIDER = "provider"
    #: The provider did not name it: counted at its worst case.
    ASSUMED = "assumed"
    #: Two readings of the balance left no other explanation.
    BALANCE = "balance"
    #: The chain shows that its payment can no longer settle and has not.
    CHAIN = "chain"
    #: The provider's list of the wallet's transactions names it.
    TRANSACTIONS = "transactions"
    #: A person settled it with `resolve`.
    PERSON = "person"
    #: Nobody could tell within 72 hours: counted as charged.
    WRITE_OFF = "write-off"


class PaymentState(StrEnum):
    """Where one signed USDC payment is."""

    #: Signed and stored: it may settle, now or later. The same bytes may be sent again until it is too old.
    SIGNED = "signed"
    #: It has settled: the provider or the chain says so. Final.
    SETTLED = "settled"
    #: It can no longer settle and has not. Final; what it was for may be bought anew.
    VOID = "void"


class WaitsFor(StrEnum):
    """What a waiting job waits for."""

    #: Until the canaries of its batch are approved.
    CANARY = "canary"
    #: Until the jobs are completed whose results it needs.
    DEPENDENCY = "dependency"
    #: Until a person has looked at the results that it needs.
    GATE = "gate"


class Gate(StrEnum):
    """What stands between a job that has a gate and those that need its result."""

    #: Nobody has looked yet.
    MANUAL = "manual"
    APPROVED = "approved"
    REJECTED = "rejected"


class Decision(StrEnum):
    """What a person decided about the result of a job."""

    ACCEPT = "accept"
    #: It stays where it is stored, and leaves the index.
    REJECT = "reject"
    #: Another one is to be bought.
    TAKE = "take"


class JobError(StrEnum):
    """Why a job is failed or rejected."""

    REJECTED_INPUT = "rejected-input"
    #: Our own copy of an input was not where it is kept: nothing was sent, and it may be there the next time.
    MEDIA_MISSING = "media-missing"
    MODERATION = "moderation"
    PROVIDER_FAILED = "provider-failed"
    INSUFFICIENT_CREDITS = "insufficient-credits"
    REQUEST_LOST = "request-lost"
    ASSET_CORRUPT = "asset-corrupt"
    ASSET_EXPIRED = "asset-expired"
    DESTINATION_FAILED = "destination-failed"
    DEPENDENCY_FAILED = "dependency-failed"
    PAYMENT_LOST = "payment-lost"
    UNKNOWN = "unknown"


#: Exit code of a command that worked a batch which ended up held, the gravest first.
HOLD_EXIT_CODES = {
    HoldCode.IN_DOUBT: 5,
    HoldCode.PROVIDER_REFUSING: 4,
    HoldCode.DESTINATION_FAILING: 4,
    HoldCode.BUDGET_REACHED: 3,
    HoldCode.BALANCE_LOW: 3,
    HoldCode.PRICE_CHANGED: 3,
    HoldCode.STOP_WHEN: 3,
    HoldCode.CANARY: 3,
    HoldCode.GATE: 3,
    HoldCode.UNUSUAL_WORK: 3,
    HoldCode.PAYMENT_REFUSED: 3,
}

#: Holds under which a batch sends nothing new. Doubt about a few jobs does not stop the others; too much of it does.
BLOCKING_HOLDS = (
    HoldCode.BUDGET_REACHED,
    HoldCode.BALANCE_LOW,
    HoldCode.PROVIDER_REFUSING,
    HoldCode.PRICE_CHANGED,
    HoldCode.STOP_WHEN,
    HoldCode.DESTINATION_FAILING,
    HoldCode.UNUSUAL_WORK,
    HoldCode.PAYMENT_REFUSED,
)

_J = JobState
JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _J.WAITING: frozenset({_J.PENDING, _J.SKIPPED, _J.CANCELLED, _J.FAILED}),
    _J.PENDING: frozenset({_J.SUBMITTING, _J.CANCELLED, _J.SKIPPED, _J.WAITING}),
    _J.SUBMITTING: frozenset({_J.PENDING, _J.GENERATING, _J.REJECTED, _J.IN_DOUBT}),
    _J.GENERATING: frozenset({_J.COPYING, _J.FAILED, _J.REJECTED}),
    _J.COPYING: frozenset({_J.COMPLETED, _J.FAILED}),
    _J.IN_DOUBT: frozenset({_J.GENERATING, _J.PENDING, _J.FAILED, _J.REJECTED}),
    _J.COMPLETED: frozenset(),
    _J.FAILED: frozenset({_J.PENDING, _J.WAITING}),
    _J.REJECTED: frozenset({_J.PENDING, _J.WAITING}),
    _J.CANCELLED: frozenset(),
    _J.SKIPPED: frozenset({_J.PENDING, _J.WAITING}),
}

_S = SubmissionState
SUBMISSION_TRANSITIONS: dict[SubmissionState, frozenset[SubmissionState]] = {
    _S.INTENDED: frozenset({_S.SENT, _S.NOT_SENT}),
    _S.SENT: frozenset({_S.ACCEPTED, _S.REFUSED, _S.NOT_SENT, _S.UNKNOWN}),
    _S.ACCEPTED: frozenset({_S.RESOLVED}),
    _S.UNKNOWN: frozenset({_S.ACCEPTED, _S.RESOLVED}),
    _S.REFUSED: frozenset(),
    _S.NOT_SENT: frozenset(),
    _S.RESOLVED: frozenset(),
}

_B = BatchState
_ENDED = frozenset({_B.COMPLETED, _B.PARTIAL_FAILURE, _B.FAILED, _B.CANCELLED})
BATCH_TRANSITIONS: dict[BatchState, frozenset[BatchState]] = {
    _B.RUNNING: frozenset({_B.PAUSED, _B.HELD}) | _ENDED,
    _B.PAUSED: frozenset({_B.RUNNING, _B.HELD}) | _ENDED,
    _B.HELD: frozenset({_B.RUNNING, _B.PAUSED}) | _ENDED,
    _B.COMPLETED: frozenset(),
    _B.PARTIAL_FAILURE: frozenset({_B.RUNNING}),
    _B.FAILED: frozenset({_B.RUNNING}),
    _B.CANCELLED: frozenset(),
}

#: Jobs that the engine still moves on by itself.
ACTIVE_JOBS = (_J.WAITING, _J.PENDING, _J.SUBMITTING, _J.GENERATING, _J.COPYING)
#: Jobs that occupy a place at the provider.
IN_FLIGHT_JOBS = (_J.SUBMITTING, _J.GENERATING)
#: Jobs that have come to an end; a retry may still begin them anew.
ENDED_JOBS = (_J.COMPLETED, _J.FAILED, _J.REJECTED, _J.CANCELLED, _J.SKIPPED)
#: Jobs that end a batch well.
GOOD_JOBS = (_J.COMPLETED, _J.SKIPPED)
#: Batches that will not move again by themselves or by `resume`.
ENDED_BATCHES = tuple(sorted(_ENDED))
