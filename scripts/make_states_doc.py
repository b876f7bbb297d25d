"""Writes docs/states.md from orchestrator/base/states.py: `python scripts/make_states_doc.py > docs/states.md`."""

import ast
from collections.abc import Mapping, Set
from enum import StrEnum
from pathlib import Path

from orchestrator.base import states


def meanings(enum: type[StrEnum]) -> dict[str, str]:
    """Each member's `#:` comment, as one line of prose."""
    source = Path(states.__file__).read_text(encoding="utf-8")
    lines = source.splitlines()
    body = next(
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == enum.__name__
    )
    found = {}
    for node in body.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            first = node.lineno - 1
            while lines[first - 1].strip().startswith("#:"):
                first -= 1
            said = " ".join(line.strip().removeprefix("#:").strip() for line in lines[first : node.lineno - 1])
            found[enum[node.targets[0].id].value] = said
    return found


def section(title: str, enum: type[StrEnum], transitions: Mapping[StrEnum, Set[StrEnum]]) -> str:
    """One table: state, what it means, where it may go."""
    said = meanings(enum)
    rows = []
    for state in enum:
        targets = ", ".join(f"`{target}`" for target in sorted(transitions[state])) or "nowhere"
        rows.append(f"| `{state}` | {said[state.value]} | {targets} |")
    return "\n".join([f"## {title}", "", "| state | meaning | may become |", "| --- | --- | --- |", *rows, ""])


def document() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# States",
            "",
            "Made by `scripts/make_states_doc.py` from `orchestrator/base/states.py`; a test keeps them equal.",
            "The same table is in the database, where a trigger refuses every other transition and writes each",
            "one down as an event.",
            "",
            section("Job", states.JobState, states.JOB_TRANSITIONS),
            section("Submission", states.SubmissionState, states.SUBMISSION_TRANSITIONS),
            section("Batch", states.BatchState, states.BATCH_TRANSITIONS),
        ]
    )


if __name__ == "__main__":
    print(document(), end="")
