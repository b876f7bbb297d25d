"""The verdict table: every row, and that no answer whatever is called accepted or refused without proof."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.katana.verdict import REFUSALS, Kind, Reply, judge

ACCEPTED = b'{"request_id": "r-1", "status": "queued"}'
PROBLEM = b'{"error": {"code": "bad", "message": "no"}}'
REJECTED = (
    b'{"status": "rejected", "responses": [{"type": "image", "status": "rejected", "error": {"message": "bad"}}]}'
)
BODIES = st.sampled_from([None, b"", b"<html>", b"{", b"[]", b"{}", ACCEPTED, PROBLEM, REJECTED]) | st.binary(
    max_size=50
)


def reply(status: int, body: bytes | None, **headers: str) -> Reply:
    return Reply(status, headers, body)


@pytest.mark.parametrize(
    ("sending_began", "answer", "kind"),
    [
        (False, None, Kind.NOT_SENT),
        (True, None, Kind.UNKNOWN),
        (True, reply(200, ACCEPTED), Kind.ACCEPTED),
        (True, reply(202, ACCEPTED), Kind.ACCEPTED),
        (True, reply(200, b'{"request_id": "r-1", "responses": [null]}'), Kind.ACCEPTED),
        (True, reply(200, None), Kind.UNKNOWN),
        (True, reply(200, b""), Kind.UNKNOWN),
        (True, reply(200, ACCEPTED[:-5]), Kind.UNKNOWN),
        (True, reply(200, b'{"status": "queued"}'), Kind.UNKNOWN),
        (True, reply(200, b'{"request_id": ""}'), Kind.UNKNOWN),
        (True, reply(200, REJECTED), Kind.REFUSED),
        (True, reply(200, b'{"responses": [{"status": "rejected"}, {"status": "queued"}]}'), Kind.UNKNOWN),
        *((True, reply(status, PROBLEM), Kind.REFUSED) for status in sorted(REFUSALS)),
        *((True, reply(status, b"<html>no</html>"), Kind.UNKNOWN) for status in sorted(REFUSALS)),
        *((True, reply(status, None), Kind.UNKNOWN) for status in sorted(REFUSALS)),
        *(
            (True, reply(status, PROBLEM), Kind.UNKNOWN)
            for status in (
                301,
                302,
                303,
                304,
                307,
                308,
                405,
                408,
                409,
                423,
                425,
                451,
                499,
                500,
                501,
                502,
                503,
                504,
                520,
            )
        ),
    ],
)
def test_the_table(sending_began: bool, answer: Reply | None, kind: Kind) -> None:
    assert judge(sending_began=sending_began, reply=answer, failure=None).kind is kind


@pytest.mark.parametrize("body", [ACCEPTED, PROBLEM, REJECTED, None])
@pytest.mark.parametrize("status", [200, *sorted(REFUSALS), 500])
def test_after_a_signature_left_only_accepted_is_final(status: int, body: bytes | None) -> None:
    kind = judge(sending_began=True, reply=reply(status, body), failure=None, signed=True).kind
    assert kind is (Kind.ACCEPTED if (status, body) == (200, ACCEPTED) else Kind.UNKNOWN)


@given(began=st.booleans(), answer=st.none() | st.builds(Reply, st.integers(100, 999), st.just({}), BODIES))
def test_nothing_raises_and_nothing_final_comes_without_proof(began: bool, answer: Reply | None) -> None:
    verdict = judge(sending_began=began, reply=answer, failure="it broke")
    json.dumps(verdict.document())
    match verdict.kind:
        case Kind.NOT_SENT:
            assert not began
            assert answer is None
        case Kind.ACCEPTED:
            assert answer is not None
            assert 200 <= answer.status < 300
            assert verdict.answer is not None
            assert verdict.answer.request_id
        case Kind.REFUSED:
            assert answer is not None
            assert answer.status in REFUSALS or (200 <= answer.status < 300 and b"rejected" in (answer.body or b""))


def test_a_verdict_keeps_the_providers_words_and_no_header() -> None:
    verdict = judge(sending_began=True, reply=reply(422, PROBLEM, **{"x-secret": "s3cret"}), failure=None)
    assert verdict.document() == {
        "verdict": "refused", "reason": "HTTP 422: no", "status": 422, "provider": {"code": "bad", "message": "no"},
        "heard_request_id": None,
    }  # fmt: skip


def test_a_request_id_in_an_answer_that_does_not_decide_is_kept_as_evidence() -> None:
    broken = Reply(200, {}, None, b'{"request_id": "r-1", "sta')
    assert judge(sending_began=True, reply=broken, failure=None).heard_request_id == "r-1"
    proxied = judge(sending_began=True, reply=Reply(504, {}, b'{"request_id": "r-2"}'), failure=None)
    assert (proxied.kind, proxied.heard_request_id) == (Kind.UNKNOWN, "r-2")


def test_a_rejection_of_one_of_two_items_does_not_speak_for_both() -> None:
    one = reply(200, REJECTED)
    assert judge(sending_began=True, reply=one, failure=None, item_count=1).kind is Kind.REFUSED
    assert judge(sending_began=True, reply=one, failure=None, item_count=2).kind is Kind.UNKNOWN


def test_a_rejection_without_an_id_is_filed_under_its_items_error() -> None:
    verdict = judge(sending_began=True, reply=reply(200, REJECTED), failure=None)
    assert verdict.problem is not None
    assert verdict.problem.message == "bad"
    silent = b'{"responses": [{"type": "image", "status": "rejected"}]}'
    assert judge(sending_began=True, reply=reply(200, silent), failure=None).problem is None
