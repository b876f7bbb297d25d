"""What a file of decisions means for its batch as it is now: what is new in it, and every reason against it. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.base.diagnostics import Code
from orchestrator.base.states import Decision, Gate, JobState
from orchestrator.manifest.decisions import Decided, Decisions
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.store.answering import Answers
from orchestrator.store.reviews import NewReview, Reviewable, Reviewed

_MAY_BE = {
    Decision.ACCEPT: (JobState.COMPLETED,),
    Decision.REJECT: (JobState.COMPLETED,),
    Decision.TAKE: (JobState.COMPLETED, JobState.FAILED, JobState.REJECTED),
}
_VERBS = {Decision.ACCEPT: "accept", Decision.REJECT: "reject", Decision.TAKE: "take again"}


@dataclass(frozen=True, slots=True)
class UnderReview:
    """A batch as decisions meet it.

    `verdicts` are the newest yes or no to its results, and `take_keys` the submit keys of takes that were asked for, by
    the job (row) that made the result (and its hash). `waiting` are the jobs that wait for the canaries' approval.
    """

    jobs: Sequence[Reviewable]
    verdicts: Mapping[int, Reviewed]
    take_keys: Mapping[tuple[int, str], str]
    waiting: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReviewWork:
    """What is to be done for a file: decisions to be written down, answers to be given, and takes to be bought.

    `takes` are the names of jobs by the submit key of the batch that makes them anew. `gated` of them have a gate that
    nobody has opened, and `charged` were paid for and gave no file.
    """

    new: tuple[NewReview, ...]
    answers: Answers
    takes: Mapping[str, tuple[str, ...]]
    gated: frozenset[str]
    charged: tuple[str, ...]
    accepted: int
    rejected: int
    unchanged: int


def why_not(decision: Decision, state: JobState, gate: Gate | None, *, has_item: bool) -> str | None:
    """Why a decision about such a job cannot be carried out, after the job's name; None where it can."""
    if not has_item:
        return f"was left out for its row: there is nothing to {_VERBS[decision]}"
    if state not in _MAY_BE[decision]:
        return f"is {state.replace('_', ' ')}: there is nothing to {_VERBS[decision]}"
    if decision is Decision.ACCEPT and gate is Gate.REJECTED:
        return "has a gate that was answered with no, and what waited for it is skipped"
    return None


def work_of(decisions: Decisions, standing: UnderReview, findings: Findings) -> ReviewWork:
    """What a file asks for; what stands against it goes to `findings`."""
    by_name = {job.name: job for job in standing.jobs}
    pairs = [(one, job) for one in decisions.decided if (job := _job_of(one, by_name, findings)) is not None]
    new = [(one, job) for one, job in pairs if _is_new(one, job, standing)]
    new_key = _key(decisions.batch, [(one, job) for one, job in new if one.decision is Decision.TAKE])
    takes = [(one, job) for one, job in pairs if one.decision is Decision.TAKE]
    return ReviewWork(
        new=tuple(_review(one, job, new_key) for one, job in new),
        answers=_answers(pairs, standing, has_news=any(one.decision is Decision.ACCEPT for one, _ in new)),
        takes=_takes(takes, standing, new_key),
        gated=frozenset(job.name for _, job in takes if job.gate in (Gate.MANUAL, Gate.REJECTED)),
        charged=tuple(job.name for one, job in new if one.decision is Decision.TAKE and job.was_charged),
        accepted=sum(one.decision is Decision.ACCEPT for one, _ in pairs),
        rejected=sum(one.decision is Decision.REJECT for one, _ in pairs),
        unchanged=len(pairs) - len(new),
    )


def _job_of(one: Decided, by_name: Mapping[str, Reviewable], findings: Findings) -> Reviewable | None:
    """The job that a decision is about; None after reporting why it cannot be carried out."""
    own = findings.for_job(one.job)
    job = by_name.get(one.job)
    why = None if job is None else why_not(one.decision, job.state, job.gate, has_item=job.has_item)
    if job is None:
        message = f"the batch has no job `{one.job}`{did_you_mean(one.job, sorted(by_name))}"
        own.error(Code.UNKNOWN_JOB, one.place("job"), message, "job")
    elif why is not None:
        own.error(Code.INVALID_VALUE, one.place("decision"), f"`{one.job}` {why}", "decision")
    elif job.asset_sha256 != one.asset_sha256:
        message = f"the result of `{one.job}` is another one than was looked at; make the report again"
        own.error(Code.ASSET_CHANGED, one.place("asset_sha256"), message, "asset_sha256")
    else:
        return job
    return None


def _is_new(one: Decided, job: Reviewable, standing: UnderReview) -> bool:
    if one.decision is Decision.TAKE:
        return (job.origin_pk, one.asset_sha256) not in standing.take_keys
    return standing.verdicts.get(job.origin_pk) != Reviewed(one.decision, one.asset_sha256, one.note)


def _review(one: Decided, job: Reviewable, new_key: str) -> NewReview:
    take_key = new_key if one.decision is Decision.TAKE else None
    return NewReview(job.origin_pk, one.decision, one.asset_sha256, one.note, take_key)


def _key(batch: str, takes: Sequence[tuple[Decided, Reviewable]]) -> str:
    """A submit key that stands for these very takes: whoever asks for them again gets the same batch."""
    asked = [batch, sorted((one.job, one.asset_sha256) for one, _ in takes)]
    return f"review-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}"


def _takes(
    takes: Sequence[tuple[Decided, Reviewable]], standing: UnderReview, new_key: str
) -> dict[str, tuple[str, ...]]:
    """Each take under the one key that it was first asked for with, beside all others that were asked for then."""
    keys = [standing.take_keys.get((job.origin_pk, one.asset_sha256), new_key) for one, job in takes]
    by_key = {key: [job.name for (_, job), own in zip(takes, keys, strict=True) if own == key] for key in keys}
    for key in by_key.keys() - {new_key}:
        origins = {origin for (origin, _), taken in standing.take_keys.items() if taken == key}
        first = {job.origin_pk: job.name for job in reversed(standing.jobs) if job.origin_pk in origins}
        by_key[key] = list(first.values())
    return {key: tuple(sorted(names)) for key, names in by_key.items()}


def _answers(pairs: Sequence[tuple[Decided, Reviewable]], standing: UnderReview, *, has_news: bool) -> Answers:
    gated = [(one, job) for one, job in pairs if job.gate is Gate.MANUAL]
    return Answers(
        opened=tuple(job.pk for one, job in gated if one.decision is Decision.ACCEPT),
        closed=tuple(job.name for one, job in gated if one.decision is not Decision.ACCEPT),
        released=standing.waiting if has_news and _all_accepted(pairs, standing) else (),
    )


def _all_accepted(pairs: Sequence[tuple[Decided, Reviewable]], standing: UnderReview) -> bool:
    """Whether every result that the batch has bought so far is accepted, by this file or before."""
    said = {origin: review.decision for origin, review in standing.verdicts.items()}
    said |= {job.origin_pk: one.decision for one, job in pairs if one.decision is not Decision.TAKE}
    bought = [job for job in standing.jobs if job.state is JobState.COMPLETED and job.origin_pk == job.pk]
    return bool(bought) and all(said.get(job.pk) is Decision.ACCEPT for job in bought)
