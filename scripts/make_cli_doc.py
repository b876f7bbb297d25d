"""Writes docs/cli.md from the help texts of the commands: `python scripts/make_cli_doc.py > docs/cli.md`."""

from typing import Any

from typer.core import TyperGroup

from orchestrator.cli.app import root_command
from orchestrator.cli.examples import commands

INTRODUCTION = """\
# Commands

Made by `scripts/make_cli_doc.py` from what `--help` prints; a test keeps them equal, and has the commands parse every
example. `BATCH` is an id, a unique prefix of one, a collection's name (its latest batch), or `latest`.

**Output.** What a command prints as data is on stdout, and with `--json` it is one JSON document; diagnostics, progress
and questions are on stderr. A command that can spend tells the price first and asks; it needs `--yes` where nobody can
answer.

**Completion.** `orchestrator --install-completion` has bash, zsh or fish complete commands, options and their values,
models, schedules, batches and jobs. Ids with characters that shells read as their own are left out, as `:` is.

**Exit codes**

| code | means |
| --- | --- |
| 0 | done |
| 1 | the batch ended with jobs not completed |
| 2 | bad usage or manifest |
| 3 | refused to spend, paused, or held for a cap, for funds or for an approval |
| 4 | provider, credentials, destination or database unusable |
| 5 | held: money in doubt needs a person |
| 70 | a fault of ours |
| 130 | interrupted; `orchestrator resume` goes on |

Commands that work a batch, and `wait`, end with its state (1, 3, 4, 5); those that look at one (`status`, `jobs`,
`watch`) with 0, whatever it is.
"""
#: Characters that a line of the page has room for.
WIDTH = 100


def help_text(root: TyperGroup, command: Any = None, words: str = "") -> str:
    """What `orchestrator WORDS --help` prints; without a command: what `orchestrator --help` does."""
    context = root.context_class(root, info_name="orchestrator", terminal_width=WIDTH, **root.context_settings)
    if command is not None:
        context = root.context_class(command, info_name=words, parent=context)
    return str((command or root).get_help(context)).strip()


def section(root: TyperGroup, command: Any, words: str) -> str:
    """One command under its name."""
    return f"## {words}\n\n```text\n{help_text(root, command, words)}\n```\n"


def document(root: TyperGroup) -> str:
    """The whole page."""
    overview = f"```text\n{help_text(root)}\n```\n"
    sections = (section(root, command, words) for words, command in commands(root))
    return "\n".join([INTRODUCTION, overview, *sections]).rstrip() + "\n"


if __name__ == "__main__":
    print(document(root_command()), end="")
