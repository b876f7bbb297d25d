"""The page of `orchestrator --help`, kept as a file: to make it, all commands would have to be imported, and typer.

`make docs` makes it anew, and a test holds it against the commands.
"""

import os
import sys

PAGE = __file__.removesuffix(".py") + ".txt"
#: The widest that help is set; for a narrower terminal it is made to fit.
COLUMNS = 80


def kept_page() -> str | None:
    """The page; None where it has to be made for another width."""
    if "COLUMNS" in os.environ or _is_narrow():
        return None
    with open(PAGE, encoding="utf-8") as file:  # noqa: PTH123 - importing pathlib takes longer than all the rest
        return file.read()


def _is_narrow() -> bool:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns < COLUMNS
    except (OSError, ValueError):  # it is no terminal
        return False
