"""A file of decisions: what is read of it, and every fault with its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.base.states import Decision
from orchestrator.manifest.decisions import LONGEST_NOTE, Decisions, read_decisions
from orchestrator.manifest.findings import Findings

SHA = "a" * 64


def read(folder: Path, document: Any) -> tuple[Decisions | None, list[str]]:
    """What is read, and the faults as `line:column code`."""
    file = folder / "decisions.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    findings = Findings(str(file))
    found = read_decisions(file, findings)
    return found, [f"{error.line}:{error.column} {error.code}" for error in findings.errors]


def entry(**changes: Any) -> dict[str, Any]:
    return {"job": "mug", "asset_sha256": SHA, "decision": "accept", "note": None} | changes


def test_sound_decisions_are_read(tmp_path: Path) -> None:
    entries = [
        entry(),
        entry(job="cup", decision="reject", note=" too dark "),
        entry(job="pot", decision="take", asset_sha256=None),
    ]
    found, faults = read(tmp_path, {"version": 1, "batch": "things-1", "decisions": entries})
    assert faults == []
    assert found is not None
    assert found.batch == "things-1"
    assert [(one.job, one.decision, one.note, one.asset_sha256) for one in found.decided] == [
        ("mug", Decision.ACCEPT, None, SHA),
        ("cup", Decision.REJECT, "too dark", SHA),
        ("pot", Decision.TAKE, None, ""),
    ]


def test_every_fault_is_told_with_its_place(tmp_path: Path) -> None:
    lines = [
        '{"version": 2, "batch": "things-1", "by": "me", "decisions": [',
        ' {"job": "mug", "decision": "maybe"},',
        ' {"job": "cup", "decision": "accept", "asset_sha256": "abc"},',
        ' {"decision": "accept"}, 7,',
        ' {"job": "pot", "decision": "reject", "note": 5},',
        f' {{"job": "jar", "decision": "reject", "note": "{"x" * (LONGEST_NOTE + 1)}"}},',
        ' {"job": "jug", "decision": "take"}, {"job": "jug", "decision": "accept"}',
        "]}",
    ]
    found, faults = read(tmp_path, "\n".join(lines))
    assert found is not None
    assert [one.job for one in found.decided] == ["jug"]
    assert faults == [
        "1:37 unknown-field",
        "1:13 invalid-value",
        "2:29 invalid-value",
        "3:55 invalid-value",
        "4:2 missing-field",
        "4:26 invalid-value",
        "5:47 invalid-value",
        "6:47 invalid-value",
        "7:46 duplicate-job-id",
    ]


@pytest.mark.parametrize("text", ["", "[]", "7", '{"version": 1, "decisions": []}', "{", '{"version": 1, "batch": 5}'])
def test_a_file_that_names_no_batch_says_nothing(tmp_path: Path, text: str) -> None:
    found, faults = read(tmp_path, text)
    assert found is None
    assert faults


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
_KEYS = st.sampled_from(["version", "batch", "decisions", "job", "asset_sha256", "decision", "note", "x"])


@given(document=st.dictionaries(_KEYS, _JSON | st.lists(st.dictionaries(_KEYS, _JSON, max_size=5), max_size=3)))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_document_breaks_the_reader(tmp_path: Path, document: dict[str, Any]) -> None:
    found, faults = read(tmp_path, document)
    assert faults or found is not None
