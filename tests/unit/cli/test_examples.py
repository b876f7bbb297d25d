"""Every command has examples in its help, and the commands take every command line that help and pages show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from orchestrator.cli.app import root_command
from orchestrator.cli.examples import EXAMPLES, aligned, commands

ROOT = Path(__file__).parents[3]
GROUP = root_command()
COMMANDS = dict(commands(GROUP))
LINES = [line for lines in EXAMPLES.values() for line in lines]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def parse(line: str) -> str:
    """The words of the command that a command line calls, once that has taken all of it. Raises where it does not."""
    program, *arguments = shlex.split(re.split(r"  # | > ", line)[0])
    assert program == "orchestrator"
    context = GROUP.make_context(program, arguments)
    while isinstance(context.command, TyperGroup):
        given = [*context._protected_args, *context.args]
        name, command, left = context.command.resolve_command(context, given)
        assert command is not None
        context = command.make_context(name, left, parent=context)
    return context.command_path.removeprefix("orchestrator ")


def test_there_are_examples_of_every_command_and_of_nothing_else() -> None:
    assert sorted(EXAMPLES) == sorted(COMMANDS)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("line", LINES)
def test_the_real_command_takes_the_example(line: str) -> None:
    words = parse(line)
    assert any(line in EXAMPLES[known] for known in {words, words.rpartition(" ")[0]} & EXAMPLES.keys())


@pytest.mark.parametrize("words", COMMANDS)
def test_help_shows_the_examples_whole(words: str) -> None:
    command = COMMANDS[words]
    shown = command.get_help(command.context_class(command, info_name=words, terminal_width=80))
    assert all(f"    {line}" in shown.splitlines() for line in aligned(EXAMPLES[words]))


def groups(group: TyperGroup) -> Iterator[TyperGroup]:
    yield group
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            yield from groups(command)


def test_a_list_of_commands_cuts_none_short() -> None:
    for group in groups(GROUP):
        listed = group.get_help(group.context_class(group, info_name=group.name, terminal_width=80))
        assert [line for line in listed.splitlines()[1:] if line.endswith("...")] == []


def shown_lines(page: Path) -> Iterator[str]:
    """What a page shows in code as calls of the command, each without what follows it in a shell."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for line in [*"\n".join(blocks).splitlines(), *re.findall(r"`(orchestrator [^`]+)`", text)]:
        if found := re.match(r"(?:[A-Z_]+=\S+ )*(orchestrator\b[^#>&|;]*)", line.replace("\\|", " ").strip()):
            yield found[1]


def called(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words call, and the ones that are left. Raises KeyError where there is none."""
    command: Any = GROUP
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        if words[0] not in command.commands and " " in command.commands:
            break
        command, words = command.commands[words[0]], words[1:]
    return (command.commands[" "] if isinstance(command, TyperGroup) and " " in command.commands else command), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_no_command_and_no_option_that_is_not_there(page: Path) -> None:
    for line in shown_lines(page):
        command, left = called(line.replace("|", " ").split()[1:])
        names = {name for option in command.params for name in [*option.opts, *option.secondary_opts]} | {"--help"}
        options = {re.split(r"[=\]]", word.lstrip("["))[0] for word in left if word.lstrip("[").startswith("--")}
        assert options <= names, line


def test_the_readme_shows_many_commands() -> None:
    assert len(set(shown_lines(ROOT / "README.md"))) > 30
