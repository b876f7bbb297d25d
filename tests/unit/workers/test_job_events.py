"""Jobs as Flower is told of them: one task an attempt, in Celery's states, and nothing that is nobody's business."""

import ast
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import states
from celery.events.state import State

from orchestrator.base.logs import redactor
from orchestrator.base.states import JobState
from orchestrator.store.job_events import ShownJob
from workers import shown_text
from workers.chunks import args_of, result_of
from workers.job_events import hostname, story, task_id
from workers.shown_text import shown, shown_uri

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def job(state: JobState, **values: Any) -> ShownJob:
    """A job in this state, of whose submission is known what such a job's would be."""
    was_claimed = state not in (JobState.WAITING, JobState.PENDING, JobState.CANCELLED, JobState.SKIPPED)
    was_accepted = was_claimed and state not in (JobState.SUBMITTING, JobState.REJECTED, JobState.IN_DOUBT)
    facts: dict[str, Any] = {
        "pk": 7,
        "name": "mug",
        "type": "image",
        "model": "gpt-image-2",
        "state": state,
        "batch_id": "spring-20261122-7f3a",
        "collection": "spring",
        "is_sandbox": False,
        "attempts": int(was_claimed),
        "request_id": "0f3f" if was_accepted else None,
        "error": None,
        "created_at": NOON,
        "claimed_at": _at(10) if was_claimed else None,
        "sent_at": _at(11) if was_claimed else None,
        "accepted_at": _at(12) if was_accepted else None,
        "generated_at": _at(58.5) if was_accepted and state is not JobState.GENERATING else None,
        "ended_at": _at(60) if state in (JobState.COMPLETED, JobState.FAILED, JobState.REJECTED) else None,
        "generation_seconds": None,
        "uris": (),
    }
    return ShownJob(**facts | values)


def shown_in_flower(told: Sequence[tuple[ShownJob, str | None]]) -> dict[str, Any]:
    """What Celery's own state, which Flower keeps, makes of these stories, told one after the other."""
    state = State()
    for clock, (known, came_from) in enumerate(told):
        for event in story(known, came_from):
            at = (event.at or NOON).timestamp()
            head = {"type": event.type, "uuid": task_id(known, came_from), "hostname": hostname(known)}
            state.event(head | {"timestamp": at, "local_received": at, "clock": clock, "pid": 1} | event.fields)
    return {uuid: task.state for uuid, task in state.tasks.items()}


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (JobState.WAITING, states.PENDING),
        (JobState.PENDING, states.PENDING),
        (JobState.SUBMITTING, states.RECEIVED),
        (JobState.GENERATING, states.STARTED),
        (JobState.COPYING, states.STARTED),
        (JobState.COMPLETED, states.SUCCESS),
        (JobState.FAILED, states.FAILURE),
        (JobState.REJECTED, states.FAILURE),
        (JobState.IN_DOUBT, "IN-DOUBT"),
        (JobState.CANCELLED, states.REVOKED),
        (JobState.SKIPPED, states.REVOKED),
    ],
)
def test_each_state_has_a_word_of_celerys(state: JobState, word: str) -> None:
    assert list(shown_in_flower([(job(state), None)]).values()) == [word]


def test_one_attempt_is_one_task_from_its_claim_to_its_end() -> None:
    told = [
        (job(JobState.PENDING), None),
        (job(JobState.SUBMITTING, attempts=0, sent_at=None), JobState.PENDING),
        (job(JobState.SUBMITTING), JobState.PENDING),
        (job(JobState.GENERATING), JobState.SUBMITTING),
        (job(JobState.COPYING), JobState.GENERATING),
        (job(JobState.COMPLETED), JobState.COPYING),
    ]
    assert list(shown_in_flower(told).values()) == [states.SUCCESS]


def test_what_the_provider_wants_later_is_a_retry_of_the_same_task() -> None:
    told = [(job(JobState.SUBMITTING), None), (job(JobState.PENDING), JobState.SUBMITTING)]
    assert list(shown_in_flower(told).values()) == [states.RETRY]
    assert list(shown_in_flower([*told, (job(JobState.GENERATING), JobState.SUBMITTING)]).values()) == [states.STARTED]


def test_another_try_of_a_failed_job_is_another_task() -> None:
    told = [
        (job(JobState.FAILED), JobState.GENERATING),
        (job(JobState.PENDING, attempts=1), JobState.FAILED),
        (job(JobState.GENERATING, attempts=2), JobState.SUBMITTING),
    ]
    assert list(shown_in_flower(told).values()) == [states.FAILURE, states.STARTED]


@pytest.mark.parametrize(
    ("then", "word"),
    [
        (job(JobState.GENERATING), states.STARTED),
        (job(JobState.PENDING, attempts=1), states.RETRY),
        (job(JobState.FAILED, accepted_at=None), states.FAILURE),
    ],
)
def test_a_doubt_gives_way_to_what_settles_it(then: ShownJob, word: str) -> None:
    told = [(job(JobState.IN_DOUBT), JobState.SUBMITTING), (then, JobState.IN_DOUBT)]
    assert list(shown_in_flower(told).values()) == [word]


def test_a_task_says_which_job_it_is_and_how_long_the_provider_took() -> None:
    done = story(job(JobState.COMPLETED, uris=("s3://shop/mug/0-1f9c2b7e.png",)), JobState.COPYING)
    assert [event.type for event in done] == ["task-received", "task-started", "task-succeeded"]
    assert [event.at for event in done] == [_at(10), _at(12), _at(60)]
    fields = done[-1].fields
    assert fields["name"] == "image · gpt-image-2"
    assert ast.literal_eval(fields["args"]) == ("mug", "spring-20261122-7f3a", "spring")
    assert ast.literal_eval(fields["kwargs"]) == {"batch": "spring-20261122-7f3a", "request_id": "0f3f"}
    assert (fields["runtime"], fields["result"]) == (46.5, "s3://shop/mug/0-1f9c2b7e.png")


def test_the_providers_own_times_are_the_true_ones() -> None:
    assert story(job(JobState.COMPLETED, generation_seconds=46.0), None)[-1].fields["runtime"] == 46.0


def test_a_text_took_as_long_as_its_post() -> None:
    text = job(JobState.COMPLETED, type="text", accepted_at=_at(14), generated_at=_at(14))
    assert story(text, None)[-1].fields["runtime"] == 3


def test_what_never_began_at_the_provider_took_no_time() -> None:
    assert story(job(JobState.REJECTED), None)[-1].fields["runtime"] is None


def test_an_error_is_told_without_what_may_be_secret_in_it() -> None:
    said = "refused\n\x1b[2J https://user:pw@cdn.test/a.png?X-Amz-Signature=" + "f" * 64
    failed = story(job(JobState.FAILED, error={"code": "provider-failed", "message": said}), None)[-1].fields
    assert failed["exception"] == failed["result"]
    assert failed["exception"] == "provider-failed: refused �[2J https://***@cdn.test/a.png?***"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        (
            "request 0f3f0ab9-2d2c-4d99-a7cc-76cf82735246 is gone",
            "request 0f3f0ab9-2d2c-4d99-a7cc-76cf82735246 is gone",
        ),
        ("key " + "k" * 90, "key ***"),
        ("the API key the-key-of-katana is no good", "the API key *** is no good"),
        ("word " * 100, "word " * 31 + "word…"),
        ("http://[broken/x?y=1", "http://[broken/x?***"),
    ],
)
def test_words_from_outside_are_one_short_line(text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_text, "_redact", lambda: redactor(["the-key-of-katana"]))
    assert shown(text) == line


def test_the_address_of_a_file_stays_whole_but_for_a_query() -> None:
    assert shown_uri("file:///srv/out/what%3F.png") == "file:///srv/out/what%3F.png"
    assert shown_uri("s3://shop/" + "k" * 60 + "/0-1.png") == "s3://shop/" + "k" * 60 + "/0-1.png"
    assert shown_uri("https://shop.test/0-1.png?token=x") == "https://shop.test/0-1.png?…"


def test_a_job_with_many_files_names_the_first() -> None:
    uris = tuple(f"s3://shop/mug/{number}.png" for number in range(5))
    assert story(job(JobState.COMPLETED, uris=uris), None)[-1].fields["result"].endswith("mug/2.png, 2 more")


def test_what_a_sandbox_generates_is_the_sandboxes() -> None:
    assert (hostname(job(JobState.PENDING)), hostname(job(JobState.PENDING, is_sandbox=True))) == ("katana", "sandbox")


def test_a_task_of_ours_tells_its_batches_and_what_became_of_the_jobs() -> None:
    moved = {("b", "generating"): 11, ("a", "generating"): 1, ("a", "rejected"): 1}
    assert result_of(moved) == "12 generating, 1 rejected"
    assert args_of(moved) == "('a', 'b')"
    assert args_of({(letter, "completed"): 1 for letter in "abcdefg"}).endswith("'e', 'and 2 more')")
