"""What people see of batches and jobs."""

from decimal import Decimal
from typing import Any

import pytest
from rich.text import Text

from orchestrator.base.errors import UsageError
from orchestrator.base.states import JobState
from orchestrator.cli.batch_view import batch_table, summary
from orchestrator.cli.console import print_json
from orchestrator.cli.jobs_view import by_error, job_tables, jobs_csv
from orchestrator.cli.looking import is_tolerable, status
from orchestrator.cli.serving import celery_command
from orchestrator.cli.why_view import why_lines
from orchestrator.cli.words import counted, elapsed, elapsed_between, place
from orchestrator.operations import looking


def batch(
    state: str, *, sandbox: bool = False, holds: tuple[dict[str, Any], ...] = (), **counts: int
) -> dict[str, Any]:
    jobs = dict.fromkeys(JobState, 0) | counts
    return {
        "batch": "b-1", "name": "b", "state": state, "sandbox": sandbox, "jobs": {"total": sum(jobs.values()), **jobs},
        "credits": {"estimated": "28", "reserved": "0", "spent": "14", "in_doubt": "14", "lost": "0", "budget": "30"},
        "usd": {"estimated": "0.1456", "spent": "0.0728"}, "usdc": None, "holds": list(holds), "unstored": None,
        "near_caps": [], "over_budget": None,
        "notifications": [], "destination": "file:///a%20folder",
        "created_at": "2026-11-22T01:00:00Z", "cancelled_at": None, "finished_at": "2026-11-22T01:02:05Z",
    }  # fmt: skip


def job(name: str, error: dict[str, Any] | None = None, spent: str | None = None) -> dict[str, Any]:
    return {
        "id": name, "type": "image", "model": "gpt-image-2", "state": "failed" if error else "completed",
        "waits_for": None, "attempts": 1,
        "request_id": None, "labels": {"a": "b"}, "credits": {"estimated": "14", "spent": spent}, "usdc": None,
        "error": error,
        "assets": [],
    }  # fmt: skip


def shown(document: dict[str, Any], failures: list[dict[str, Any]]) -> str:
    return "\n".join(line.plain for line in summary(document, failures) if isinstance(line, Text))


def test_the_overview_tells_that_nobody_works() -> None:
    alone = batch("running", sandbox=True) | {"workers": 0}
    shared = [batch("running", generating=1) | {"workers": 0, "batch": f"b-{number}"} for number in (2, 3)]
    attended = batch("running", generating=1) | {"workers": 2, "batch": "b-4"}
    keyless = batch("running", pending=1) | {"workers": 2, "senders": 0, "batch": "b-5"}
    lines = [line.plain for line in batch_table([alone, *shared, attended, keyless]) if isinstance(line, Text)]
    assert lines == [
        "nobody works on b-1: no worker is alive; next: orchestrator resume b-1",
        "nobody works on b-2 and 1 more: no worker is alive; next: orchestrator worker",
        "nobody works on b-5: no living worker has the keys of its account; next: orchestrator worker, with those keys",
    ]


@pytest.mark.parametrize(("number", "is_all"), [(19, True), (20, False)])
def test_that_there_may_be_more_batches_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, *, is_all: bool
) -> None:
    recent = [batch("completed", completed=1) | {"workers": 1, "senders": 1, "provider": None}] * number
    monkeypatch.setattr(looking, "recent", lambda _: recent)
    status()
    assert ("any other by its id" not in capsys.readouterr().err) is is_all


def test_a_summary_says_how_where_what_for_and_what_next() -> None:
    hold = {"code": "in-doubt", "since": "2026-11-22T01:01:00Z", "message": "1 paid request", "at_stake": "14"}
    hold["command"] = "orchestrator jobs b-1"
    failures = [job("mug", {"code": "moderation", "message": "no", "charged": True})] * 12
    text = shown(batch("held", holds=(hold,), completed=1, failed=12, in_doubt=1), failures)
    assert "b-1: held in 2:05" in text
    assert "files: /a folder/b " in text
    assert "spent 14 credits (~$0.0728) of 28 credits (~$0.1456) estimated, 14 in doubt, budget 30" in text
    assert text.count("mug failed [moderation, charged]: no") == 10
    assert "and 2 more: orchestrator jobs b-1 --by error" in text
    assert "held [in-doubt]: 1 paid request\n  since 2026-11-22 01:01 UTC (" in text
    assert "· 14 credits at stake\n  next: orchestrator jobs b-1\n" in text
    assert text.index("next: orchestrator jobs b-1\n") < text.index("files: ")  # what needs a person comes first
    assert "orchestrator resume" not in text  # doubt stays until it is settled
    assert "orchestrator resume b-1" in shown(batch("held", holds=(hold | {"code": "balance-low"},), pending=1), [])


def test_a_batch_that_is_worked_is_not_to_be_taken_up() -> None:
    progress = {"workers": 1, "senders": 1, "in_flight": 0, "next_poll_seconds": None}
    worked = batch("running", pending=1) | {"finished_at": None, "provider": None, "progress": progress}
    assert shown(worked, []).endswith("next: orchestrator watch b-1")
    alone = shown(worked | {"progress": progress | {"workers": 0, "senders": 0}}, [])
    assert "nobody works on it: no worker is alive; next: orchestrator worker\n" in alone
    assert alone.endswith("next: orchestrator watch b-1   orchestrator resume b-1")


def test_files_that_are_not_stored_are_told_before_there_is_a_hold() -> None:
    found = {"jobs": 4, "since": "2026-11-22T01:01:00Z", "error": "a file is in the way of /a folder", "at_stake": "56"}
    found["first_expires_at"] = "2026-11-23T01:01:00Z"
    failing = batch("running", copying=4) | {"unstored": found}
    text = shown(failing, [])
    assert "not stored [4 jobs]: a file is in the way of /a folder; mend that, and it is tried again" in text
    assert "56 credits at stake · the first file is to be had until 2026-11-23T01:01:00Z\n" in text
    assert "  next: orchestrator resume b-1\n" in text
    hold = {"code": "destination-failing", "since": "2026-11-22T01:06:00Z", "message": "it takes nothing"}
    held = failing | {"holds": [hold | {"at_stake": "56", "command": "orchestrator resume b-1"}]}
    assert "not stored" not in shown(held, [])


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (["provider-failed"], "orchestrator retry b-1"),
        (["payment-lost"], "orchestrator retry b-1 --again"),
        (["provider-failed", "payment-lost"], "orchestrator retry b-1"),
        (["left out"], "mend the rows that were left out, and submit the manifest again"),
        (["left out", "moderation"], "orchestrator retry b-1   mend the rows that were left out, and submit the"),
    ],
)
def test_what_failed_is_mended_by_what_helps(codes: list[str], said: str) -> None:
    failures = [job("mug", {"code": code, "message": "", "charged": False}) for code in codes]
    for failed in failures:
        if failed["error"]["code"] == "left out":
            failed |= {"state": "rejected", "credits": {"estimated": "0", "spent": "0"}}
    text = shown(batch("partial_failure", completed=1, failed=len(codes)), failures)
    assert f"next: orchestrator jobs b-1   {said}" in text
    assert text.endswith("again" if "left out" in codes else said)


def test_what_a_retry_left_out_is_mended_by_another() -> None:
    skipped = job("spin", {"code": "dependency-failed", "message": "left out", "charged": False}) | {"state": "skipped"}
    text = shown(batch("partial_failure", completed=2, skipped=1), [skipped])
    assert text.endswith("next: orchestrator jobs b-1   orchestrator retry b-1")


def test_another_try_of_what_was_charged_is_not_offered_without_a_word() -> None:
    errors = [("request-lost", True), ("provider-failed", False), ("payment-lost", True)]
    failures = [job(code, {"code": code, "message": "", "charged": charged}) for code, charged in errors]
    text = shown(batch("failed", failed=3), failures)
    assert text.endswith("orchestrator retry b-1 (pays again for 1 that gave no file)")
    assert shown(batch("failed", failed=1), failures[2:]).endswith("--again (pays again for 1 that gave no file)")


def test_a_summary_says_why_jobs_were_skipped() -> None:
    left = {"code": "unknown", "message": "left to b-2, which has the same job", "charged": False}
    skipped = [job(name, left) | {"state": "skipped"} for name in ("mug", "cup")]
    text = shown(batch("completed", completed=4, skipped=2), skipped)
    assert "  2 skipped: left to b-2, which has the same job" in text
    assert "mug" not in text
    assert "retry" not in text


def test_a_batch_that_passed_its_budget_says_so() -> None:
    assert "over its budget" not in shown(batch("completed", completed=1), [])
    text = shown(batch("completed", completed=1) | {"over_budget": "8.9"}, [])
    assert "over its budget of 30 by 8.9 credits: what was under way cost more than was planned" in text


def test_a_notification_that_nobody_took_is_shown() -> None:
    notice = {"event": "finished", "host": "hooks.example", "tries": 9, "error": "HTTP 404", "given_up": True}
    text = shown(batch("completed", completed=1) | {"notifications": [notice]}, [])
    assert "hooks.example did not take the notification finished: HTTP 404, given up" in text


def test_a_sandbox_batch_never_looks_like_money() -> None:
    text = shown(batch("completed", sandbox=True, completed=2), [])
    assert "(sandbox)" in text
    assert "would have cost 14 credits (~$0.0728)" in text
    assert "money: spent" not in text


def test_errors_are_grouped_by_code() -> None:
    moderated, lost = ({"code": code, "message": code} for code in ("moderation", "request-lost"))
    rows = by_error([job("a", moderated, "0"), job("b", lost, "14"), job("c", lost, "0.1"), job("d")])
    assert [(row["code"], row["jobs"], row["credits"]["spent"], row["example"]) for row in rows] == [
        ("request-lost", 2, "14.1", "b"),
        ("moderation", 1, "0", "a"),
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(start: str) -> None:
    line = jobs_csv([job(f"{start}1+1")]).split("\r\n", 1)[1]
    assert line.lstrip('"').startswith(f"'{start}")


def test_a_share_of_failed_jobs_can_be_tolerated() -> None:
    document = batch("partial_failure", completed=99, failed=1)
    assert is_tolerable(document, Decimal("0.01"))
    assert not is_tolerable(document, Decimal("0.009"))
    assert not is_tolerable(batch("held", in_doubt=1), Decimal(1))


def test_words() -> None:
    assert [counted(1, "job"), counted(0, "job"), counted(2, "batch")] == ["1 job", "0 jobs", "2 batches"]
    assert [elapsed(7), elapsed(3723)] == ["0:07", "1:02:03"]
    assert elapsed_between("2026-11-22T01:00:00Z", None) == ""
    assert [place("file:///a%20b"), place("s3://a/b")] == ["/a b", "s3://a/b"]


def test_the_first_of_many_jobs_are_seen_before_the_last_are_laid_out() -> None:
    one = job("mug", {"code": "moderation", "message": "no"})
    tables = list(job_tables([one] * 1_001))
    assert [table.row_count for table in tables] == [500, 500, 1]


def test_json_is_written_as_it_is_made_and_leaves_stdout_open(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for _ in range(2):
        print_json([{"prompt": "Käse \udcff"}, {"n": None}])
    document = '[\n  {\n    "prompt": "Käse \\udcff"\n  },\n  {\n    "n": null\n  }\n]\n'
    assert capfdbinary.readouterr().out.decode() == document * 2


def test_a_worker_for_some_steps_still_settles() -> None:
    assert celery_command("submit, poll", 4)[-4:] == ["--queues", "submit,poll,settle", "--concurrency", "4"]
    with pytest.raises(UsageError, match="no step 'pol'"):
        celery_command("pol", None)


def test_a_worker_whose_lines_are_json_has_no_banner() -> None:
    assert "--quiet" not in celery_command(None, None)
    bare = celery_command(None, None, with_banner=False)
    assert bare.index("--quiet") < bare.index("worker")


def test_why_a_batch_stands() -> None:
    row = {
        "state": "in_doubt", "jobs": 2, "job": "mug\x1b[7m", "model": "gen", "since": "2026-11-22T01:00:00Z",
        "code": "in-doubt", "waits_for": "whether it was charged", "mover": "person", "until": None,
        "command": "orchestrator resolve b-1",
    }  # fmt: skip
    poll = row | {
        "state": "generating",
        "jobs": 1,
        "mover": "provider",
        "until": "2026-11-22T01:01:00Z",
        "command": None,
    }
    first, second = (line.plain.splitlines() for line in why_lines({"why": [row, poll]}))
    assert first[0].startswith("in doubt: 2 jobs, the oldest is mug\\x1b[7m (gen) since 2026-11-22 01:00 UTC (")
    assert first[1:] == ["  waits for: whether it was charged", "  moved by: you", "  next: orchestrator resolve b-1"]
    assert second[2:] == ["  moved by: the provider, at 2026-11-22T01:01:00Z"]
    assert [line.plain for line in why_lines({"why": []})] == ["no job of it can move any more"]
