"""`schedule`: which manifests are submitted by themselves, and when. The ticker of any worker does it (`ticking`)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.base.cron import check
from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.manifest.collection_keys import ScheduleTimes
from orchestrator.manifest.files import uri_of
from orchestrator.operations.comparing import compare_with_collection
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import configured_providers, provider_for
from orchestrator.operations.planning import plan, require_valid
from orchestrator.operations.resuming import resume
from orchestrator.operations.running import Progress
from orchestrator.operations.submitting import Announce, Confirm, SubmitOptions, submit
from orchestrator.operations.ticking import outcome_of, require_budget, require_scheduled
from orchestrator.planner.compare import Comparison
from orchestrator.planner.result import Plan
from orchestrator.planner.saved import is_saved_plan
from orchestrator.store import schedules, slots
from orchestrator.store.database import Connection, Database
from orchestrator.store.schedules import Schedule, Spec
from orchestrator.store.slots import Run

#: The accounts that the settings have keys for, by the way they pay.
Accounts = Mapping[Payment, int]


@dataclass(frozen=True, slots=True)
class Times:
    """When a schedule is to run, where that is not what its manifest says."""

    cron: str | None = None
    tz: str | None = None


def add_schedule(
    manifest: Path, settings: Settings, times: Times, *, announce: Announce | None = None
) -> dict[str, Any]:
    """Schedule a manifest under its collection's name, from its next slot on; returns the schedule's document.

    `announce` is told what it would buy now. Nothing is bought yet; the manifest is read afresh at each slot. Raises
    ManifestError, SpendRefused for one without a budget, UsageError where it has no times, cannot be read by every
    worker, or is scheduled already, and Unusable.
    """
    payment, spec = _spec(manifest, settings, times, announce)
    with _store(settings) as (connection, ours):
        is_there = schedules.look_up(connection, ours.values(), spec.name) is not None
        if is_there or not schedules.add(connection, ours[payment], spec):
            raise UsageError(
                f"there is a schedule {spec.name!r} already",
                hint=f"change it with: orchestrator schedule apply {manifest}",
            )
        return _document(connection, ours, spec.name)


def apply_schedules(
    manifests: Sequence[Path], settings: Settings, *, announce: Announce | None = None
) -> list[dict[str, Any]]:
    """Have a schedule for each of these manifests as it says, all of them or none; others stay as they are.

    Returns their documents with `change`: added, changed or unchanged. Raises as `add_schedule` does.
    """
    wanted = [_spec(manifest, settings, Times(), announce) for manifest in manifests]
    with _store(settings) as (connection, ours):
        changes = [_apply(connection, ours, payment, spec) for payment, spec in wanted]
        return [
            _document(connection, ours, spec.name) | {"change": change}
            for (_, spec), change in zip(wanted, changes, strict=True)
        ]


def _apply(connection: Connection, ours: Accounts, payment: Payment, spec: Spec) -> str:
    schedule = schedules.look_up(connection, ours.values(), spec.name)
    if schedule is None and schedules.add(connection, ours[payment], spec):
        return "added"
    schedule = schedule or schedules.find(connection, ours.values(), spec.name)
    return "changed" if schedules.change(connection, schedule, spec, ours[payment]) else "unchanged"


def list_schedules(settings: Settings) -> list[dict[str, Any]]:
    """All schedules of ours, each with its newest run. Raises Unusable without any key."""
    with _store(settings) as (connection, ours):
        return schedules.documents(connection, ours.values())


def pause_schedule(name: str, settings: Settings) -> dict[str, Any]:
    """Begin no slot of a schedule until `resume_schedule`; returns its document. Raises UsageError without one."""
    with _store(settings) as (connection, ours):
        schedules.pause(connection, schedules.find(connection, ours.values(), name))
        return _document(connection, ours, name)


def resume_schedule(name: str, settings: Settings) -> dict[str, Any]:
    """Run a paused schedule again, from its next slot on; returns its document."""
    with _store(settings) as (connection, ours):
        schedules.go_on(connection, schedules.find(connection, ours.values(), name))
        return _document(connection, ours, name)


def remove_schedule(name: str, settings: Settings) -> dict[str, Any]:
    """Forget a schedule; its batches stay. Returns its last document."""
    with _store(settings) as (connection, ours):
        schedule = schedules.find(connection, ours.values(), name)
        document = _document(connection, ours, name)
        schedules.remove(connection, schedule)
        return document | {"state": "removed", "next_slot": None}


def run_schedule_now(
    name: str,
    settings: Settings,
    *,
    confirm: Confirm,
    announce: Announce | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Submit a schedule's manifest now, whatever its times say; returns the batch's document, as `submit` does.

    Priced and asked before. A batch of the collection that is held is not in the way, one that moves is. Raises as
    `submit` does, and UsageError for an unknown schedule.
    """
    with open_database(settings) as database:
        with database.begin() as connection:
            schedule = schedules.find(connection, _accounts(connection, settings).values(), name)
        batch_id = _store_run(database, settings, schedule, confirm, announce)
    [document] = resume(batch_id, settings, confirm=lambda *_: True, progress=progress)
    return document


def _store_run(
    database: Database, settings: Settings, schedule: Schedule, confirm: Confirm, announce: Announce | None
) -> str:
    """Store the batch of a run that a person wants now, while no ticker runs the schedule."""

    def checked(comparison: Comparison) -> None:
        require_scheduled(comparison, name=schedule.spec.name)
        if announce is not None:
            announce(comparison)

    with slots.turn(database, schedule.pk) as is_ours:
        if not is_ours:
            raise SpendRefused(
                f"a worker is submitting {schedule.spec.name} just now", hint="orchestrator schedule list shows it"
            )
        run = patiently(database, partial(slots.run_by_hand, schedule=schedule))
        options = SubmitOptions(detach=True, beside_held=True, key=run.submit_key)
        document = submit(Path(schedule.spec.manifest), settings, options, confirm=confirm, announce=checked)
        _record(database, run, document)
    return str(document["batch"])


def _record(database: Database, run: Run, document: dict[str, Any]) -> None:
    with database.begin() as connection:
        slots.record(connection, run, outcome_of(document))


def _spec(manifest: Path, settings: Settings, times: Times, announce: Announce | None) -> tuple[Payment, Spec]:
    """What a manifest and the command line want, and who is to pay, checked as for `submit`."""
    where = _where(manifest, settings)
    planned = plan(manifest, settings)
    if not planned.only_over_budget:  # what is there already need not fit the budget
        require_valid(planned, "; nothing was scheduled")
    require_budget(planned)
    provider_for(settings, planned.payment)
    wanted = _wanted(planned, times)
    comparison = compare_with_collection(planned, settings)
    if announce is not None:
        announce(comparison)
    return planned.payment, Spec(str(planned.name), where, wanted.cron, wanted.tz, wanted.heartbeat)


def _wanted(planned: Plan, times: Times) -> ScheduleTimes:
    """When it is to run: as the command line says, else as the manifest does. Raises UsageError where neither does."""
    written = planned.schedule
    cron = times.cron or (written and written.cron)
    if not cron:
        raise UsageError(
            f"{planned.file} does not say when",
            hint='add `schedule: {cron: "0 2 * * *", tz: Europe/Berlin}` to it, or give --cron',
        )
    tz = times.tz or (written.tz if written else "UTC")
    try:
        check(cron, tz)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return ScheduleTimes(cron, tz, written.heartbeat if written else None)


def _where(manifest: Path, settings: Settings) -> str:
    """Where the tickers find the manifest. Raises UsageError where not every one of them would."""
    if is_saved_plan(manifest):
        raise UsageError(
            f"{manifest} is a saved plan, and a schedule reads its manifest afresh", hint="schedule the manifest itself"
        )
    uri = uri_of(manifest)
    if "://" in uri:
        return uri
    if settings.broker_url is not None:
        raise UsageError(
            f"{manifest} is a file of this machine, and with a broker any worker may have to read it",
            hint="put it, and the files that it names, at an s3:// URI",
        )
    return str(manifest.expanduser().absolute())


@contextmanager
def _store(settings: Settings) -> Iterator[tuple[Connection, Accounts]]:
    """A transaction, and our accounts. Raises Unusable without any key."""
    configured_providers(settings)
    with open_database(settings) as database, database.begin() as connection:
        yield connection, _accounts(connection, settings)


def _accounts(connection: Connection, settings: Settings) -> Accounts:
    return {provider.payment: provider.account_pk(connection) for provider in configured_providers(settings)}


def _document(connection: Connection, ours: Accounts, name: str) -> dict[str, Any]:
    [document] = [one for one in schedules.documents(connection, ours.values()) if one["name"] == name]
    return document
