"""Whole manifests: what a few lines are expanded to, where faults are put, and whose they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.files import RemoteFault
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.manifest.load import load_manifest
from orchestrator.manifest.nodes import plain
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.schema import Manifest

FIELDS = ProviderFields(frozenset({"model", "prompt", "image_urls", "duration_seconds"}), frozenset({"image_urls"}))
HEAD = "version: 1\nname: t\n"

Load = Callable[..., tuple[Manifest, Findings]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a manifest of `jobs` (a YAML list), beside the other files given."""

    def make(text: str, name: str = "m.yaml", **files: str | bytes) -> tuple[Manifest, Findings]:
        for stem, content in {name: text, **{key.replace("_", "."): value for key, value in files.items()}}.items():
            (tmp_path / stem).write_bytes(content.encode() if isinstance(content, str) else content)
        findings = Findings("m")
        return load_manifest(tmp_path / name, FIELDS, findings), findings

    return make


def jobs_of(manifest: Manifest) -> list[ManifestJob]:
    return [job.in_full() for job in manifest.jobs]


def fields_of(manifest: Manifest) -> dict[str | None, dict[str, Any]]:
    return {job.id: {name: plain(entry.value, {}) for name, entry in job.fields.items()} for job in jobs_of(manifest)}


def test_a_job_a_row_and_combination_in_the_order_of_rows(load: Load) -> None:
    text = (
        HEAD
        + """
vars: {size: large, colour: none}
labels: {size: "{{ size }}"}
defaults: {prompt: "A {{ colour }} {{ name }}", labels: {kind: mug}, extra: {seed: "{{ n }}"}}
jobs:
  - id: "{{ sku }}-{{ n }}"
    for_each: [{sku: a, name: mug, n: 7}, {sku: b, name: cup, colour: blue}]
    matrix: {n: [1, 2], model: [x, "{{ size }}"]}
    labels: {n: "{{ n }}"}
""".replace("{{ sku }}-{{ n }}", "{{ sku }}-{{ n }}-{{ model }}")
    )
    manifest, findings = load(text)
    assert findings.errors == []
    assert [job.id for job in manifest.jobs][:4] == ["a-1-x", "a-1-large", "a-2-x", "a-2-large"]
    last = jobs_of(manifest)[-1]
    assert last.ordinal == 7
    assert last.labels == {"size": "large", "kind": "mug", "n": "2"}
    assert plain(last.extra["seed"].value, {}) == 2
    assert plain(last.fields["model"].value, {}) == "large"
    assert plain(last.defaults["prompt"].value, {}) == "A blue cup"
    assert plain(jobs_of(manifest)[0].defaults["prompt"].value, {}) == "A none mug"
    assert last.row is not None
    assert (last.row.columns, last.row.place) == ({"sku": "b", "name": "cup", "colour": "blue"}, "row 2")


@pytest.mark.parametrize(("head", "season"), [("vars: {season: spring}\n", "spring"), ("", None)])
def test_the_labels_of_the_batch_are_those_that_all_jobs_share(load: Load, head: str, season: str | None) -> None:
    labels = "labels: {sku: '{{ sku }}', season: '{{ season }}', team: x}\n"
    text = HEAD + head + labels + "jobs: [{id: '{{ sku }}', for_each: [{sku: a, season: autumn}]}]"
    manifest, findings = load(text)
    assert findings.errors == []
    assert manifest.labels.get("season") == season
    assert manifest.labels.keys() - {"season"} == {"team"}
    assert manifest.jobs[0].labels == {"sku": "a", "season": "autumn", "team": "x"}


def test_a_job_sets_its_field_before_the_matrix_does(load: Load) -> None:
    manifest, _ = load(HEAD + "jobs: [{id: '{{ model }}', model: z, matrix: {model: [x, y]}}]")
    assert fields_of(manifest) == {"x": {"model": "z"}, "y": {"model": "z"}}


def test_whole_values_keep_their_type_and_place(load: Load) -> None:
    text = HEAD + "jobs:\n  - id: '{{ a }}'\n    for_each: [{a: 1, b: [x, {y: 2.50}]}]\n    image_urls: '{{ b }}'\n"
    manifest, _ = load(text)
    node = jobs_of(manifest)[0].fields["image_urls"].value
    assert plain(node, {}) == ["x", {"y": 2.5}]
    assert (node.line, node.column) == (6, 17)
    assert manifest.jobs[0].id == "1"


def test_takes_and_gates(load: Load) -> None:
    text = HEAD + "jobs: [{id: mug, takes: 2, gate: manual}, {id: '{{ n }}', takes: '{{ n }}', for_each: [{n: '1'}]}]"
    manifest, findings = load(text)
    assert findings.errors == []
    assert [(job.id, job.take, job.has_gate) for job in jobs_of(manifest)] == [
        ("mug.1", 1, True),
        ("mug.2", 2, True),
        ("1.1", 1, False),
    ]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("{b: 'yes'}", "13"),
        ("{b: [yes, no]}", "123"),
        ("{n: 1}", "1"),
        ("{n: 1.0}", "1"),
        ("{n: '01'}", ""),
        ("{t: true}", "1"),
        ("{t: ''}", "24"),
        ("{t: null}", "24"),
        ("{b: 'yes', n: 3}", "3"),
    ],
)
def test_where(load: Load, where: str, ids: str) -> None:
    text = HEAD + f"jobs: [{{id: plain}}, {{id: '{{{{ id }}}}', for_each: r.csv, where: {where}}}]"
    manifest, findings = load(text, r_csv="id,b,n,t\n1,yes,1,TRUE\n2,no,2,\n3, yes ,3,false\n4,,,\n")
    assert findings.errors == []
    assert "".join(job.id or "" for job in manifest.jobs[1:]) == ids


def test_text_stays_text_where_nothing_is_expanded(load: Load) -> None:
    manifest, _ = load(
        HEAD + "jobs: [{id: a, prompt: '{{ x }}'}, {id: '{{ x }}', prompt: '{{ x }}', matrix: {x: [1]}}]"
    )
    assert fields_of(manifest) == {"a": {"prompt": "{{ x }}"}, "1": {"prompt": "1"}}
    assert [job.is_template for job in manifest.jobs] == [False, True]


def test_faults_of_rows_are_told_from_faults_of_the_manifest(load: Load) -> None:
    text = (
        HEAD
        + """
jobs:
  - id: "{{ sku }}"
    for_each: r.jsonl
    model: m
    prompt: A {{ colour }} mug
"""
    )
    rows = '{"sku": "a", "colour": "red"}\n{"sku": "b"}\n{"sku": "a", "colour": "blue"}\n{"sku": \n'
    manifest, findings = load(text, r_jsonl=rows)
    assert [(error.code, error.job) for error in findings.errors] == [
        (Code.TEMPLATE_ERROR, "b"),
        (Code.DUPLICATE_JOB_ID, "a"),
        (Code.YAML_SYNTAX, None),
    ]
    assert all("r.jsonl, row" in error.message for error in findings.errors)
    assert [(job.id, job.is_broken, len(job.faults)) for job in manifest.jobs] == [
        ("a", False, 0),
        ("b", True, 1),
        ("a", False, 1),
        (None, True, 1),
    ]
    assert all(job.blames_row(fault) for job in manifest.jobs for fault in job.faults)
    template = jobs_of(manifest)[0]
    model, prompt = template.fields["model"].value, template.fields["prompt"].value
    assert template.of_row is not None
    assert template.filled is not None
    assert (model.line, model.column) not in template.of_row | template.filled
    assert (prompt.line, prompt.column) in template.of_row & template.filled


def test_a_fault_of_the_manifest_is_not_put_down_to_rows(load: Load) -> None:
    jobs = "jobs: [{id: '{{ k }}', for_each: [{k: a}], gate: never}, {id: b, gate: never, prompt: '{{ v }}'}]"
    manifest, findings = load(HEAD + "vars: {v: 1}\n" + jobs)
    assert [(error.code, error.job) for error in findings.errors] == [
        (Code.INVALID_VALUE, "a"),
        (Code.INVALID_VALUE, "b"),
    ]
    assert [(job.id, job.faults, job.is_broken) for job in manifest.jobs] == [("a", (), False), ("b", (), False)]
    assert not any(job.blames_row(error) for job in manifest.jobs for error in findings.errors)


def test_a_name_that_no_row_has_is_said_once_with_a_row(load: Load) -> None:
    text = HEAD + "jobs: [{id: '{{ sku }}', for_each: r.csv, prompt: '{{ color }}'}]"
    manifest, findings = load(text, r_csv="sku,colour\n" + "".join(f"{n},red\n" for n in range(100)))
    (error,) = findings.errors
    assert "did you mean `colour`? (r.csv, row 2)" in error.message
    assert manifest.jobs == ()


def test_too_many_takes_of_rows_are_found_while_they_are_counted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.manifest.jobs.MAX_JOBS", 3)
    monkeypatch.setattr("orchestrator.manifest.job_keys.MAX_JOBS", 3)
    text = HEAD + "jobs: [{id: '{{ n }}', takes: '{{ n }}', for_each: [{n: '2'}, {n: '3'}, {n: '3'}]}]"
    _, findings = load(text)
    assert [error.code for error in findings.errors if "at most 3" in error.message] == [Code.INVALID_VALUE]


def test_a_csv_is_a_manifest(load: Load) -> None:
    text = (
        "id,model,prompt,image_urls,labels.season,extra.seed,duration_seconds,takes,gate,x-note\n"
        'a,m,"Two\nlines",one.png,spring,42,5,,manual,mine\n'
        'b, m ,  x ,"[""a.png"", {""from"": ""a""}]",,,,2,,\n'
    )
    manifest, findings = load(text, "Spring 2027.csv")
    assert findings.errors == []
    assert manifest.name == "spring-2027"
    first, *takes = jobs_of(manifest)
    assert fields_of(manifest)["a"] == {
        "model": "m",
        "prompt": "Two\nlines",
        "image_urls": ["one.png"],
        "duration_seconds": "5",
    }
    assert (first.labels, plain(first.extra["seed"].value, {}), first.has_gate) == ({"season": "spring"}, 42, True)
    assert first.row is not None
    assert (first.row.columns, first.row.place) == ({"x-note": "mine"}, "row 2")
    assert first.of_row is None
    assert [(job.id, job.node.line) for job in takes] == [("b.1", 4), ("b.2", 4)]
    assert fields_of(manifest)["b.1"]["prompt"] == "x "
    assert fields_of(manifest)["b.1"]["image_urls"] == ["a.png", {"from": "a"}]


def test_a_jsonl_is_a_manifest(load: Load) -> None:
    text = '{"id": "a", "prompt": "{{ x }}"}\n\n{"id": "{{ n }}", "matrix": {"n": [1, 2]}}\n'
    manifest, findings = load(text, "jobs.jsonl")
    assert findings.errors == []
    assert [(job.id, job.node.line) for job in jobs_of(manifest)] == [("a", 1), ("1", 3), ("2", 3)]


@pytest.mark.parametrize(
    ("columns", "code"),
    [("id,promt", Code.UNKNOWN_FIELD), ("id,labels.", Code.UNKNOWN_FIELD), ("model", Code.MISSING_FIELD)],
)
def test_columns_that_no_job_has(load: Load, columns: str, code: Code) -> None:
    manifest, findings = load(columns + "\na,b\n", "r.csv")
    assert (findings.errors[0].code, findings.errors[0].line, manifest.jobs) == (code, 1, ())


def test_included_files_come_before_the_manifest(load: Load) -> None:
    text = (
        HEAD + "include: [c.yaml, r.csv]\nvars: {a: 3}\nlabels: {y: own}\njobs: [{id: own, prompt: '{{ a }}{{ b }}'}]"
    )
    common = (
        "vars: {a: 1, b: 2}\nlabels: {x: c, y: c}\ndefaults: {model: m}\njobs:\n\n- {id: shared, prompt: '{{ a }}'}\n"
    )
    manifest, findings = load(text, c_yaml=common, r_csv="id,prompt\nrow,p\n,q\n")
    assert [(error.code, error.line, error.message) for error in findings.errors] == [
        (Code.MISSING_FIELD, 3, "a job needs an `id` (r.csv, row 3)")
    ]
    assert fields_of(manifest) == {
        "shared": {"prompt": "3"},
        "row": {"prompt": "p"},
        None: {"prompt": "q"},
        "own": {"prompt": "32"},
    }
    assert [job.origin for job in jobs_of(manifest)] == ["c.yaml, line 6", "r.csv, row 2", "r.csv, row 3", None]
    assert manifest.labels == {"x": "c", "y": "own"}
    assert plain(manifest.defaults["model"].value, {}) == "m"


ROWS = "jobs: [{id: '{{ a }}', for_each: ./rows/../rows/r.csv}, {id: x, for_each: s3://none/r.csv}]"
OBJECTS = {"s3://shop/night/m.yaml": HEAD + ROWS, "s3://shop/night/rows/r.csv": "a\n1\n2\n"}


class Bucket:
    """Objects by their URI."""

    def read(self, uri: str) -> bytes:
        if uri not in OBJECTS:
            raise RemoteFault("does not exist")
        return OBJECTS[uri].encode()


def test_a_manifest_on_s3_has_its_files_beside_it() -> None:
    findings = Findings("m")
    manifest = load_manifest(Path("s3://shop/night/m.yaml"), FIELDS, findings, Bucket())
    assert [job.id for job in manifest.jobs] == ["1", "2"]
    assert [error.message for error in findings.errors] == ["`s3://none/r.csv` does not exist"]


def test_s3_is_refused_where_nothing_reads_it() -> None:
    findings = Findings("m")
    load_manifest(Path("s3://shop/night/m.yaml"), FIELDS, findings)
    assert [error.code for error in findings.errors] == [Code.MANIFEST_UNREADABLE]


def test_a_value_of_another_shape_is_told_what_to_write(load: Load) -> None:
    _, findings = load('{"version": 1, "name": "t", "budget": 500, "on_invalid": {"skip_at_most": "two"}, "jobs": []}')
    told = {error.field: error.message for error in findings.errors}
    assert told["budget"].startswith("`budget` must be a mapping such as {credits: 500}, it is ")
    assert (
        "must be a percentage from 0% to 100%, such as 5% or 2.5%, or a number of jobs, it"
        in told["on_invalid.skip_at_most"]
    )


def test_a_json_manifest_has_the_same_keys(load: Load) -> None:
    text = (
        '{"version": 1, "name": "t", "vars": {"a": 1}, "reuse": "none", "on_invalid": {"skip_at_most": 3},\n'
        ' "jobs": [{"id": "{{ k }}-{{ a }}", "for_each": "r.tsv", "where": {"k": ["x", "y"]}, "gate": "manual"}]}'
    )
    manifest, findings = load(text, "m.json", r_tsv="k\tl\nx\t1\ny\t2\nz\t3\n")
    assert findings.errors == []
    jobs = [job.in_full() for job in manifest.jobs]
    assert [(job.id, job.has_gate) for job in jobs] == [("x-1", True), ("y-1", True)]
    assert (manifest.reuse, manifest.skip_at_most) == ("none", 3)


@pytest.mark.parametrize(
    ("source", "names", "said"),
    [
        ("r.csv", ["Café"], "it was read as Windows-1252 (`Café` in r.csv, row 2); to name its encoding: for_each: {"),
        ("{file: r.csv, encoding: cp1252}", ["Café"], None),
        ("{file: r.csv, encoding: cp437}", ["CafΘ"], None),
        ("{file: r.csv, encoding: utf-8}", [], "`r.csv` is not utf-8 (byte 13)"),
        ("{file: r.csv, encoding: klingon}", [], "there is no encoding of the name 'klingon'"),
        ("{file: r.csv, encoding: hex}", [], "there is no encoding of the name 'hex'"),
        ("{file: r.csv}", [], "or {file: NAME, encoding: NAME}, it is a mapping"),
        ("{file: r.csv, encoding: 5}", [], "or {file: NAME, encoding: NAME}, it is a mapping"),
    ],
)
def test_the_encoding_of_rows_is_found_out_or_named(
    load: Load, source: str, names: list[str], said: str | None
) -> None:
    text = f'{HEAD}\njobs: [{{id: "{{{{ n }}}}", for_each: {source}, labels: {{name: "{{{{ name }}}}"}}}}]'
    manifest, findings = load(text, r_csv="n,name\n1,Café\n".encode("cp1252"))
    assert [job.labels["name"] for job in manifest.jobs] == names
    told = [found.message for found in (*findings.errors, *findings.warnings) if "no job at all" not in found.message]
    assert len(told) == (0 if said is None else 1)
    assert said is None or said in told[0]
