"""The questions before money is spent, before what was paid is settled by a person's word, and before what is final."""

import sys

import typer

from orchestrator.base.errors import SpendRefused
from orchestrator.cli.console import err


def may_spend(what: str, *, yes: bool) -> bool:
    """Whether the user agrees to `what`. Raises SpendRefused where there is nobody to ask."""
    return may_do(what, yes=yes, nothing="nothing was sent")


def may_do(what: str, *, yes: bool, nothing: str) -> bool:
    """The same of what spends nothing, and cannot be taken back; `nothing` says what did not happen without a yes."""
    if yes:
        return True
    if not _is_somebody_there():
        raise SpendRefused(f"{what}, and there is no terminal to ask on: {nothing}", hint="agree beforehand with --yes")
    return _ask(what)


def may_settle(what: str, *, yes: bool) -> bool:
    """Whether the user agrees to `what`, which spends nothing: a script, which cannot be asked, has said so."""
    return yes or not _is_somebody_there() or _ask(what)


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(what: str) -> bool:
    """Raises typer.Abort on Ctrl-C, upon which nothing has begun yet that could be gone on with."""
    err().print(f"{what}. Proceed? [y/N] ", end="")
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        err().print()
        raise typer.Abort from None
    if not answer:  # Ctrl-D leaves the cursor behind the question
        err().print()
    return answer.strip().lower() in ("y", "yes")
