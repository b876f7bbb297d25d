"""Jobs that are alike are judged once: a long list is planned as its jobs would be one by one."""

import csv
import json
from decimal import Decimal
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.base.diagnostics import Diagnostic
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.fingerprint import SeriesFingerprints, fingerprint
from orchestrator.planner.plan import Plan, plan

Row = dict[str, str]
TEMPLATE = (
    "version: 1\nname: t\njobs:\n  - {id: '{{ id }}', for_each: r.csv, model: '{{ model }}', type: '{{ type }}',\n"
    "     prompt: 'A {{ prompt }}', aspect_ratio: '{{ ratio }}', labels: {s: '{{ label }}'},\n"
    "     image_urls: ['{{ image_url }}', 'https://a.example/x.png']}\n"
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["gpt-image-2", "gpt-image-2", "gpt-image-2", "gen", "nope"]),
            "type": st.sampled_from(["image", "image", "image", "video"]),
            "prompt": st.sampled_from(["mug", "cup", "“tasse”", "{{ x }}", "50 %", "nul\0", " "]),
            "ratio": st.sampled_from(["1:1", "1:1", "1:1", "7:3"]),
            "label": st.sampled_from(["x", "y", "z", " "]),
            "image_url": st.sampled_from([f"https://a.example/{number}.png" for number in range(5)] + ["gone.png"]),
        }
    ),
    min_size=1,
    max_size=7,
).map(lambda rows: [{"id": f"job-{number}"} | row for number, row in enumerate(rows)])


def jsonl(rows: list[Row]) -> list[str]:
    names = {"ratio": "aspect_ratio", "label": "labels"}
    return ["\n"] + [
        json.dumps({names.get(name, name): {"s": cell} if name == "label" else cell for name, cell in row.items()})
        + "\n"
        for row in rows
    ]


def table(names: dict[str, str], rows: list[Row]) -> list[str]:
    """The lines of a CSV file, the first one with the names of its columns."""
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names.get(name, name) for name in rows[0])
    writer.writerows(row.values() for row in rows)
    return file.getvalue().splitlines(keepends=True)


def lines_of(name: str, rows: list[Row]) -> list[str]:
    if name == "r.jsonl":
        return jsonl(rows)
    return table({"ratio": "aspect_ratio", "label": "labels.s"} if name == "r.csv" else {}, rows)


def planned(name: str, lines: list[str]) -> Plan:
    with TemporaryDirectory() as folder:
        Path(folder, "batch.yaml").write_text(TEMPLATE)
        Path(folder, "r.csv" if name == "batch.yaml" else name).write_text("".join(lines), encoding="utf-8")
        return plan(Path(folder, name), bundled_catalog(), usd_per_credit=Decimal("0.0052"))


def alone(name: str, lines: list[str]) -> list[Plan]:
    """The plans of all rows by themselves, each where it stands: instead of the others there are empty lines."""
    kept = range(1, len(lines))
    return [planned(name, [lines[0], *(lines[at] if at == number else "\n" for at in kept)]) for number in kept]


def said(diagnostics: tuple[Diagnostic, ...]) -> list[tuple[object, ...]]:
    return sorted((d.code, d.message, d.line, d.column, d.job or "", d.field or "") for d in diagnostics)


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "batch.yaml"])
@settings(max_examples=15, deadline=None)
@given(rows=ROWS)
def test_a_list_is_planned_as_each_of_its_jobs_alone(name: str, rows: list[Row]) -> None:
    lines = lines_of(name, rows)
    whole, parts = planned(name, lines), alone(name, lines)
    jobs = [job for part in parts for job in part.jobs]
    assert [job._replace(ordinal=0) for job in whole.jobs] == [job._replace(ordinal=0) for job in jobs]
    assert whole.estimate == sum(part.estimate for part in parts)
    if name != "batch.yaml":  # a fault of a template is told once
        assert said(whole.errors) == sorted(error for part in parts for error in said(part.errors))
        assert said(whole.warnings) == sorted(warning for part in parts for warning in said(part.warnings))


URLS = st.text().map("HTTPS://a.example/{}".format) | st.sampled_from(["https://a.example/1.png", {"$media": "0" * 64}])
FIELDS = st.sampled_from([{}, {"takes": 3}, {"seed": 2.0, "zoom": 1}, {"aspect_ratio": "auto", "output_format": "jpg"}])


@given(st.none() | st.text(), st.lists(URLS, max_size=3), st.none() | URLS, FIELDS)
def test_fingerprints_of_a_series_are_those_of_the_whole_items(
    prompt: str | None, several: list[object], one: object, more: dict[str, object]
) -> None:
    item = {"type": "image", "model": "gen", "aspect_ratio": "1:1"} | more
    first: dict[str, object] = {"image_urls": ["https://a.example/0.png"] * len(several)}
    own: dict[str, object] = {"image_urls": several}
    if one is not None:
        first["image_url"], own["image_url"] = {"$media": "1" * 64}, one
    names = [*own]
    if prompt is not None:
        first["prompt"], own["prompt"] = "x", prompt
    series = SeriesFingerprints(type="image", model="gen", item=item | first, pictures=names)
    assert series.of(item | own) == fingerprint(type="image", model="gen", item=item | own)
