"""The command line: one thin module per group of commands; each parses, calls an operation and renders."""

import sys

from orchestrator.cli.front_page import kept_page

__all__ = ["main"]


def main() -> None:
    """The `orchestrator` command."""
    if sys.stdout is not None and sys.argv[1:] in (["--help"], ["-h"]) and (page := kept_page()) is not None:
        sys.stdout.write(page)
        return
    from orchestrator.cli import entry

    entry.main()
