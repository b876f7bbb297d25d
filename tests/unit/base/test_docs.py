"""The pages that are made, and the README, say what the code says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import orchestrator
from orchestrator.cli.app import app

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", ["states", "retries", "cli"])
def test_a_page_is_the_one_that_the_code_makes(page: str) -> None:
    script = ROOT / "scripts" / f"make_{page}_doc.py"
    made = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(command: str) -> None:
    assert re.search(rf"`{command}`|orchestrator {command}\b", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_make_help_lists_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (commands,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in shown.stdout.splitlines()] == commands.split()
    assert all(len(line.split()) > 2 for line in shown.stdout.splitlines())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:orchestrator|workers|tests|docs|scripts|migrations|deploy|jobs)/[^`\s:*]*)", text_of(page)
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_heading_that_a_page_links_to_is_there() -> None:
    for page in PAGES:
        for file, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text_of(page)):
            target = page.parent / file if file else page
            headings = re.findall(r"^#+ (.*)$", text_of(target), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", words.lower()).replace(" ", "-") for words in headings], heading


def test_the_version_has_one_source_and_its_changes_are_told() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert orchestrator.__version__ == version
    for file in [ROOT / "docker-compose.yml", *(ROOT / "deploy" / "kubernetes").glob("*.yaml")]:
        assert set(re.findall(r"(?:image: katana-orchestrator:|newTag: )(\S+)", text_of(file))) <= {version}, file
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert released[0] == version
    assert released == sorted(released, key=lambda one: [int(part) for part in one.split(".")], reverse=True)
