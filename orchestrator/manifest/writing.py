"""A manifest as text: one line a key, values as JSON, which YAML 1.2 reads as the same values."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Characters that JSON leaves as they are, and YAML does not take as they are.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def manifest_text(head: Mapping[str, Any], jobs: Iterable[Mapping[str, Any]], comment: str = "") -> str:
    """A manifest with these top-level keys and jobs. `comment` is one line at its head."""
    lines = [f"# {comment}"] if comment else []
    lines += [f"{key}: {_value(value)}" for key, value in head.items()]
    lines.append("jobs:")
    for job in jobs:
        fields = [f"{key}: {_value(value)}" for key, value in job.items()]
        lines += ["  - " + fields[0], *("    " + field for field in fields[1:])]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
