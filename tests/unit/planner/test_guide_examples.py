"""Every request in the provider's guide can be pasted as a job."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.planner.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT.parent / "shared" / "katana-api.md"
RED = base64.b64encode((ROOT / "tests" / "golden" / "media" / "red.png").read_bytes()).decode()


def items() -> Iterator[dict[str, Any]]:
    """The items of every `{"requests": [...]}`; the guide's lost placeholders are filled with a picture."""
    text = GUIDE.read_text(encoding="utf-8")
    for found in re.finditer(r'\{\s*"requests":', text):
        body, _ = json.JSONDecoder().raw_decode(text, found.start())
        yield from json.loads(json.dumps(body).replace(";base64,", f";base64,{RED}"))["requests"]


@pytest.mark.skipif(not GUIDE.exists(), reason="the provider's guide is not beside this checkout")
def test_examples_can_be_pasted(plan_text: Callable[..., Plan]) -> None:
    examples = list(items())
    assert len(examples) >= 15
    jobs = [{"id": f"example-{index}", **item} for index, item in enumerate(examples)]
    plan = plan_text(json.dumps({"version": 1, "name": "guide", "jobs": jobs}, indent=1))
    assert plan.errors == ()
    assert len(plan.jobs) == len(examples)
