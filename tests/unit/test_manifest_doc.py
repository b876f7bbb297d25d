"""The examples of docs/manifest.md plan, and show every key."""

import re
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import JOB_KEYS
from orchestrator.manifest.nodes import native
from orchestrator.manifest.schema import MANIFEST_KEYS
from orchestrator.manifest.source import read_source
from orchestrator.planner.json_schema import manifest_schema
from orchestrator.planner.plan import Plan, plan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:yaml|csv|jsonl) ?(\S*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {name: text for name, text in BLOCKS if name}
BARE = [name for name in FILES if not name.endswith(".yaml")]
EXAMPLES = [text for name, text in BLOCKS if not name]
HEAD = {"version": "version: 1\n", "name": "name: example\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples name: the products of jobs/ with their photos, and the files that the page shows."""
    shutil.copytree(ROOT / "jobs", tmp_path, dirs_exist_ok=True)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def planned(path: Path) -> Plan:
    return plan(path, bundled_catalog(), usd_per_credit=Decimal("0.0052"))


def whole(example: str) -> str:
    """The example with what is left out of a part."""
    return "".join(line for key, line in HEAD.items() if not re.search(rf"^{key}:", example, re.MULTILINE)) + example


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_plans(example: str, folder: Path) -> None:
    (folder / "example.yaml").write_text(whole(example), encoding="utf-8")
    result = planned(folder / "example.yaml")
    assert [error.render("error") for error in result.errors] == []
    assert len(result.jobs) + len(result.rejected) == result.job_count > 0
    root = read_source(folder / "example.yaml", Findings(""))
    assert root is not None
    Draft202012Validator(manifest_schema(bundled_catalog())).validate(native(root))


@pytest.mark.parametrize("name", BARE)
def test_a_bare_list_plans(name: str, folder: Path) -> None:
    result = planned(folder / name)
    assert ([error.render("error") for error in result.errors], result.name) == ([], Path(name).stem)


def test_every_key_is_shown(tmp_path: Path) -> None:
    shown: set[str] = set()
    for example in EXAMPLES:
        (tmp_path / "example.yaml").write_text(example, encoding="utf-8")
        root = read_source(tmp_path / "example.yaml", Findings(""))
        assert root is not None
        document = native(root)
        shown |= {*document, *(key for job in document["jobs"] for key in job)}
    assert set(MANIFEST_KEYS) | set(JOB_KEYS) <= shown


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
