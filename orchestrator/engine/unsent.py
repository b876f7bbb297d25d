"""What was claimed and is not sent goes back, or is rejected where it never can be. Nothing of it was charged."""

from orchestrator.assets.errors import AssetError, MediaMissing
from orchestrator.base.errors import Unusable
from orchestrator.base.states import JobError, SubmissionState
from orchestrator.engine.answers import job_error
from orchestrator.engine.policy import MEDIA_RETRY_SECONDS
from orchestrator.engine.runtime import Engine, log
from orchestrator.katana.verdict import Kind
from orchestrator.store import sending
from orchestrator.store.claims import ClaimedSubmission

#: When what could not leave for want of a receipt is due again.
RECEIPT_RETRY_SECONDS = 2.0
#: How often a fault of ours is met again before its job is put aside, and when.
OUR_FAULT_TRIES = 3
OUR_FAULT_RETRY_SECONDS = 2.0


async def wait_for_media(engine: Engine, work: ClaimedSubmission, error: AssetError) -> None:
    """Input media cannot be read: another worker may have them, or they come back; only after long they are lost."""
    lasted = engine.media_failing.note(work.batch_id).lasted
    if isinstance(error, MediaMissing) and lasted >= engine.limits.stall_after_seconds:
        await _reject(engine, work, JobError.MEDIA_MISSING, error.message)
        return
    log.warning("the input media of %s cannot be read now: %s", work.batch_id, error.message)
    await take_back(engine, work, error.message, retry_in_seconds=MEDIA_RETRY_SECONDS)


async def put_aside(engine: Engine, work: ClaimedSubmission, reason: str) -> None:
    """What we stumble over again and again is rejected, so that its batch goes on; nothing of it was sent."""
    pks = [job.pk for job in work.jobs]
    if max([engine.send_faults.note(pk).times for pk in pks]) >= OUR_FAULT_TRIES:
        await _reject(engine, work, JobError.UNKNOWN, reason)
    else:
        await take_back(engine, work, reason, retry_in_seconds=OUR_FAULT_RETRY_SECONDS)


async def require_known(engine: Engine, work: ClaimedSubmission) -> None:
    """Since it was claimed, a backup may have been put back, which does not know what is paid for. Raises Unusable."""
    try:
        await engine.require_known()
    except Unusable:
        await take_back_unknown(engine, work)
        raise


async def take_back_unknown(engine: Engine, work: ClaimedSubmission) -> None:
    """Nothing may be bought: what is paid for is not known."""
    await take_back(engine, work, "the database is behind its receipts", retry_in_seconds=0)


async def take_back_unwanted(engine: Engine, work: ClaimedSubmission) -> None:
    """What may not be sent any more goes back; nothing of it left."""
    log.info("submission %s was not sent: paused, cancelled, or its lease is gone", work.id)
    await take_back(engine, work, "paused or cancelled before it was sent", retry_in_seconds=0)


async def take_back(engine: Engine, work: ClaimedSubmission, reason: str, *, retry_in_seconds: float) -> None:
    """An intent of which nothing left goes back; its jobs are due again in so many seconds."""
    await engine.transact(sending.take_back, work.id, work.token, reason=reason, retry_in_seconds=retry_in_seconds)


async def return_unsent(engine: Engine, work: ClaimedSubmission, reason: str) -> None:
    """What is marked as sent goes back: none of its bytes left."""
    await engine.persist(
        sending.record_returned,
        work.id,
        work.token,
        end=SubmissionState.NOT_SENT,
        answer={"verdict": Kind.NOT_SENT, "reason": reason},
        retry_in_seconds=RECEIPT_RETRY_SECONDS,
    )


async def _reject(engine: Engine, work: ClaimedSubmission, code: JobError, reason: str) -> None:
    await engine.transact(
        sending.record_rejected,
        work.id,
        work.token,
        end=SubmissionState.NOT_SENT,
        answer={"verdict": Kind.NOT_SENT, "reason": reason},
        error=job_error(code, reason, charged=False),
    )
