"""`balance`, `doctor` and `db`: accounts, set-up and housekeeping."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from orchestrator.base.money import canonical
from orchestrator.cli.asking import may_do
from orchestrator.cli.console import print_json, printable, safe, show, tell
from orchestrator.cli.params import AsJson, age_seconds
from orchestrator.cli.words import counted, credits_text

if TYPE_CHECKING:
    from orchestrator.operations.check import Check
    from orchestrator.operations.moving import Copied

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
#: What `prune` forgets one of, in words.
_FORGOTTEN = {
    "copies": "repeated row",
    "events": "event",
    "notifications": "notification",
    "sandboxes": "sandbox folder",
    "inputs": "fetched input",
}
#: Exit code where something a batch needs cannot be used.
_UNUSABLE = 4

db = typer.Typer(help="The database of batches, jobs and money.")


def balance(as_json: AsJson = False) -> None:
    """Show the credits of the account."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import account

    settings = load_settings()
    amount = account.balance(settings)
    document = {"credits": canonical(amount), "usd": canonical(amount * settings.usd_per_credit)}
    if as_json:
        print_json(document)
    else:
        show(Text(credits_text(document["credits"], document["usd"])))


def prune(
    older_than: Annotated[
        float,
        typer.Option("--older-than", parser=age_seconds, metavar="D", help="What ended longer ago: 90d, 720h ..."),
    ],
    as_json: AsJson = False,
) -> None:
    """Forget old events, notifications and sandboxes. Fingerprints, the ledger and files always stay."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import pruning

    counts = pruning.prune(load_settings(), older_than)
    if as_json:
        print_json(counts)
    else:
        found = [counted(number, _FORGOTTEN.get(what, what)) for what, number in counts.items() if number]
        show(Text(f"forgotten: {', '.join(found)}" if found else "there is nothing that old to forget"))


def doctor(as_json: AsJson = False) -> int:
    """Check everything a batch will need; spends nothing."""
    from orchestrator.operations.check import Health
    from orchestrator.operations.doctor import doctor

    found = []
    for check in doctor():
        found.append(check)
        if not as_json:
            show(*_check_lines(check))
    failed = any(check.verdict is Health.FAIL for check in found)
    if as_json:
        print_json({"ok": not failed, "checks": [check.document() for check in found]})
    return _UNUSABLE if failed else 0


def _check_lines(check: "Check") -> list[Text]:
    lines = [
        Text.assemble((f"{check.verdict:<4} ", _COLOURS[check.verdict]), f"{check.name}: {printable(check.message)}")
    ]
    if check.hint:
        lines.append(safe(f"     hint: {check.hint}", "dim"))
    return lines


@db.callback()
def _db() -> None:
    """The database of batches, jobs and money."""


@db.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to this release's schema."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import database

    revision = database.upgrade(load_settings())
    if as_json:
        print_json({"schema": revision})
    else:
        show(Text(f"the database is at schema {revision}"))


@db.command("copy")
def copy_database(
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Where to. [default: ORCHESTRATOR_DATABASE_URL]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Move it without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move everything from the embedded database to a shared one.

    That has to be migrated and empty; the embedded one is closed for good, so this asks before.
    """
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import moving

    def confirm(found: "Copied") -> bool:
        if not yes:
            tell(*_bound_here(found))
        what = f"this moves {_size(found)} to {found.database}, and closes the embedded database for good"
        return may_do(what, yes=yes, nothing="nothing was moved")

    copied = moving.copy(load_settings(), to, confirm=confirm)
    if as_json:
        print_json(asdict(copied))
        return
    show(
        Text(
            f"everything is in {copied.database} now: {_size(copied)}"
            if copied.rows
            else f"the copy in {copied.database} can be used now"
        ),
        Text("next: set ORCHESTRATOR_DATABASE_URL to it for every process; the embedded database is closed"),
        *_bound_here(copied),
    )


def _size(copied: "Copied") -> str:
    return f"{counted(copied.rows['batch'], 'batch')}, {counted(copied.rows['job'], 'job')}"


def _bound_here(copied: "Copied") -> list[Text]:
    """What does not go on by itself on other machines."""
    lines = [
        f"batch {batch} has its files on this machine: only workers on it can go on with it"
        for batch in copied.bound_here
    ]
    lines += [
        f"schedule {name} reads {manifest}: at other machines' workers its slots fail; put the manifest and its files "
        "at an s3:// URI, then orchestrator schedule apply URI"
        for name, manifest in sorted(copied.local_schedules.items())
    ]
    return [safe(line, "yellow") for line in lines]


@db.command()
def recover(as_json: AsJson = False) -> None:
    """Take over what was paid for since the backup that was put back. Sends nothing."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import recovering

    document = recovering.recover(load_settings())
    if as_json:
        print_json(document)
    elif not document["adopted"]:
        show(Text("the database knows every receipt: there is nothing to recover"))
    else:
        show(*_recovered_lines(document))


def _recovered_lines(document: dict[str, Any]) -> list[Text]:
    batches = document["batches"]
    lines = [Text(f"{counted(document['adopted'], 'request')} taken over; to fetch what they made:")]
    for batch in batches:
        made_anew = ", made anew: what it had not sent is not known" if batch["is_new"] else ""
        lines.append(safe(f"  orchestrator resume {batch['batch']}  ({counted(len(batch['jobs']), 'job')}{made_anew})"))
        if batch["in_doubt"]:
            lines.append(Text(f"    of {counted(len(batch['in_doubt']), 'job')} the answer is not known: in doubt"))
    return lines
