"""The pages that are made, and the README, say what the code says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.app import app

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["states", "retries", "cli"])
def test_a_page_is_the_one_that_the_code_makes(page: str) -> None:
    script = ROOT / "scripts" / f"make_{page}_doc.py"
    made = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [command.name or command.callback.__name__ for command in app.registered_commands])
def test_the_readme_names_every_command(command: str) -> None:
    assert re.search(rf"`{command}`|orchestrator {command}\b", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
