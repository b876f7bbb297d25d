"""`on_invalid`: rows that are bad by themselves are left out, as long as they are few; all else refuses everything."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.manifest.files import RemoteFault, RemoteOutage
from orchestrator.planner.compare import compare
from orchestrator.planner.plan import Plan
from orchestrator.planner.plan import plan as make_plan
from orchestrator.planner.standing import History

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
TEMPLATE = "jobs: [{id: '{{ id }}', for_each: rows.csv, image_url: '{{ image_url }}'}]\n"
PlanText = Callable[..., Plan]
ROWS = "[{sku: a, s: 5}, {sku: b, s: 7}, {sku: c, s: 5}, {sku: d, s: 5}]"


def manifest(rows: str = ROWS, at_most: str = "1", more: str = "") -> str:
    return (
        f"version: 1\nname: t\non_invalid: {{skip_at_most: {at_most}}}\ndefaults: {{prompt: x, aspect_ratio: 16:9}}\n"
        f"jobs:\n  - {{id: '{{{{ sku }}}}', for_each: {rows}, model: seedance-2-0,\n"
        f"     duration_seconds: '{{{{ s }}}}'}}\n{more}"
    )


@pytest.mark.parametrize("at_most", ["1", "25%", "49%"])
def test_a_bad_row_is_left_out_and_told(plan_text: PlanText, at_most: str) -> None:
    plan = plan_text(manifest(at_most=at_most))
    assert plan.valid
    assert [job.id for job in plan.jobs] == ["a", "c", "d"]
    (rejected,) = plan.rejected
    assert (rejected.ordinal, rejected.id, rejected.type, rejected.model) == (1, "b", "video", "seedance-2-0")
    assert (rejected.row, rejected.error.code) == ({"sku": "b", "s": 7}, Code.UNSUPPORTED_DURATION)
    assert rejected.error.message.endswith("did you mean 5? (row 2)")
    assert rejected.error in plan.warnings
    assert (plan.job_count, plan.estimate, plan.document()["rejected"]) == (4, Decimal(600), 1)
    comparison = compare(plan, History())
    for document in (plan.document(), comparison.document(), comparison.bought().document()):
        assert (document["jobs"], document["rejected"]) == (3, 1)


@pytest.mark.parametrize("at_most", ["0", "24%", "0%"])
def test_too_many_bad_rows_refuse_everything(plan_text: PlanText, at_most: str) -> None:
    plan = plan_text(manifest(at_most=at_most))
    assert ([error.job for error in plan.errors], plan.rejected) == (["b"], ())


def test_what_the_manifest_says_is_not_the_rows_fault(plan_text: PlanText) -> None:
    more = "  - {id: other, model: seedance-2-0, duration_seconds: 7}\n"
    plan = plan_text(manifest(at_most="3", more=more))
    assert [error.job for error in plan.errors] == ["other"]
    assert [rejected.id for rejected in plan.rejected] == ["b"]
    wrong_model = plan_text(manifest(at_most="100%").replace("seedance-2-0", "seedance-9"))
    (error,) = wrong_model.errors  # of the template: it is told once
    assert error.message.endswith("(row 1) (and 3 more jobs)")


def test_rows_without_a_good_id_are_named_by_their_place(plan_text: PlanText) -> None:
    rows = "[{sku: a, s: 5}, {sku: a, s: 5}, {sku: ' ', s: 5}, {s: 5}, {s: 5}]"
    plan = plan_text(manifest(rows, "4"))
    assert plan.errors == ()
    assert [job.id for job in plan.jobs] == ["a"]
    assert [(rejected.id, rejected.error.code) for rejected in plan.rejected] == [
        ("a (2)", Code.DUPLICATE_JOB_ID),
        ("row 3", Code.INVALID_VALUE),
        ("row 4", Code.TEMPLATE_ERROR),
        ("row 5", Code.TEMPLATE_ERROR),
    ]


def test_a_job_that_needs_a_rejected_one_is_planned(plan_text: PlanText) -> None:
    more = (
        f"  - {{id: 'on-{{{{ sku }}}}', for_each: {ROWS}, model: seedance-2-0, duration_seconds: 5,\n"
        "     image_url: {from: '{{ sku }}', use: final_frame}}\n"
    )
    plan = plan_text(manifest(more=more))
    assert plan.errors == ()
    fingerprints = {job.id: job.fingerprint for job in plan.jobs}
    assert [job for job, fingerprint in fingerprints.items() if fingerprint is None] == ["on-b"]
    assert len(fingerprints) == 7
    assert plan.estimate == Decimal(6 * 200)  # what can never be sent costs nothing


def test_a_rows_own_name_of_a_job_that_is_not_there(plan_text: PlanText) -> None:
    rows = "[{sku: a, of: base}, {sku: b, of: none}]"
    plan = plan_text(
        "version: 1\nname: t\non_invalid: {skip_at_most: 1}\n"
        "defaults: {model: gpt-image-2, prompt: x, aspect_ratio: 1:1}\n"
        f"jobs:\n  - {{id: base}}\n  - {{id: '{{{{ sku }}}}', for_each: {rows}, image_url: {{from: '{{{{ of }}}}'}}}}\n"
    )
    assert plan.errors == ()
    assert [(job.id, job.error.code) for job in plan.rejected] == [("b", Code.UNKNOWN_DEPENDENCY)]


@pytest.mark.parametrize("at_most", [0, 99])
def test_takes_repeat_no_fault(plan_text: PlanText, at_most: int) -> None:
    rows = "[{sku: a, of: none}, {sku: b, of: base}, {sku: c, of: nobody}]"
    plan = plan_text(
        f"version: 1\nname: t\non_invalid: {{skip_at_most: {at_most}}}\n"
        "defaults: {model: gpt-image-2, prompt: x, aspect_ratio: 1:1}\n"
        "jobs:\n  - {id: base}\n  - {id: plain, takes: 4, image_url: {from: no-one}}\n"
        f"  - {{id: '{{{{ sku }}}}', takes: 4, for_each: {rows}, image_url: {{from: '{{{{ of }}}}'}}}}\n"
    )
    told = {diagnostic.job: diagnostic.message for diagnostic in (*plan.errors, *plan.warnings)}
    assert len(plan.errors) + len(plan.warnings) == len(told) == 3
    assert told["plain.1"] == "there is no job `no-one` (and 3 more jobs)"
    assert told["a.1"].endswith("(row 1) (and 3 more jobs)")
    assert told["c.1"].endswith("(row 3) (and 3 more jobs)")


class Outage:
    """S3 that has one photo, lacks another, and does not answer for a third."""

    def read(self, uri: str) -> bytes:
        raise RemoteOutage("cannot be read")

    def file(self, uri: str) -> Path:
        if "here" in uri:
            return GOLDEN / "media" / "red.png"
        raise RemoteFault("does not exist") if "none" in uri else RemoteOutage("cannot be read: SlowDown")


@pytest.mark.parametrize("is_bare", [False, True])
def test_an_outage_of_s3_is_no_rows_fault(tmp_path: Path, is_bare: bool) -> None:
    rows = "id,image_url\na,s3://shelf/here.png\nb,s3://shelf/none.png\nc,s3://shelf/later.png\nd,s3://shelf/then.png\n"
    (tmp_path / "rows.csv").write_text(rows)
    job = "include: rows.csv\n" if is_bare else TEMPLATE
    path = tmp_path / "batch.yaml"
    path.write_text(
        f"version: 1\nname: t\non_invalid: {{skip_at_most: 100%}}\n{job}"
        "defaults: {model: gpt-image-2, prompt: x, aspect_ratio: 1:1}\n"
    )
    plan = make_plan(path, bundled_catalog(), usd_per_credit=Decimal("0.0052"), remote=Outage())
    assert {error.code for error in plan.errors} == {Code.MANIFEST_UNREADABLE}
    assert "`s3://shelf/later.png` cannot be read: SlowDown" in plan.errors[0].message
    assert [(rejected.id, rejected.error.code) for rejected in plan.rejected] == [("b", Code.MEDIA_FILE_MISSING)]


def test_text_that_must_be_a_number_is_read_as_one(plan_text: PlanText) -> None:
    plan = plan_text(manifest("[{sku: a, s: '10'}, {sku: b, s: ' 5 '}, {sku: c, s: 5}]"))
    assert [job.item["duration_seconds"] for job in plan.jobs] == [10, 5, 5]
    switches = plan_text(
        "version: 1\nname: t\njobs:\n"
        "  - {id: '{{ a }}', for_each: [{a: x, b: 'TRUE'}, {a: y, b: 'false'}, {a: z, b: 'no'}],\n"
        "     model: gen, prompt: '{{ b }}', aspect_ratio: 1:1, is_uhd: '{{ b }}'}\n"
        "  - {id: quoted, for_each: [{a: 1}], model: gen, prompt: x, aspect_ratio: 1:1, is_uhd: 'true'}\n"
    )
    assert [(job.item["is_uhd"], job.item["prompt"]) for job in switches.jobs] == [(True, "TRUE"), (False, "false")]
    assert [error.job for error in switches.errors] == ["z", "quoted"]
