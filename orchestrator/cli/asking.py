"""The question before money is spent."""

import sys

from orchestrator.base.errors import SpendRefused
from orchestrator.cli.console import err


def may_spend(what: str, *, yes: bool) -> bool:
    """Whether the user agrees to `what`. Raises SpendRefused where there is nobody to ask."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SpendRefused(
            f"{what}, and there is no terminal to ask on: nothing was sent", hint="agree beforehand with --yes"
        )
    err().print(f"{what}. Proceed? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
