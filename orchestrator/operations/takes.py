"""Other takes of results: a part of the collection that is bought again, by the same means as `submit --again`."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from orchestrator.assets.destination import open_destination
from orchestrator.base.money import ZERO
from orchestrator.base.settings import Settings
from orchestrator.base.states import JobState
from orchestrator.operations import exporting
from orchestrator.operations.comparing import compare_plan, find_shelf
from orchestrator.operations.opening import Provider
from orchestrator.operations.planning import plan, require_valid, save_plan
from orchestrator.operations.terms import Terms, terms_of, with_told
from orchestrator.planner.compare import Comparison
from orchestrator.planner.result import Plan
from orchestrator.store import exports
from orchestrator.store.database import Database
from orchestrator.store.exports import ExportedJob


@dataclass(frozen=True, slots=True)
class PricedTakes:
    """Takes as they are bought under one submit key. `file` is the plan to be submitted, there while it is priced.

    `others` are the jobs that are bought besides: what waits at a take's gate, or a needed file that is gone. `amount`
    is the most that they may cost, in the unit of the payment, and `terms` who pays whom where that is not credits.
    """

    key: str
    names: tuple[str, ...]
    others: tuple[str, ...]
    file: Path
    estimate: Decimal
    amount: Decimal
    terms: Terms | None


@contextmanager
def priced_takes(
    settings: Settings,
    database: Database,
    batch_id: str,
    provider: Provider | None,
    takes: Mapping[str, tuple[str, ...]],
    gated: Collection[str],
) -> Iterator[list[PricedTakes]]:
    """Plan and price the takes of each submit key; `provider` None: a sandbox makes them.

    What still waits at the gate of a job of `gated` is made from its new take. Raises ManifestError where something
    cannot be bought any more, or only over the budget; UsageError, Unusable, DestinationFailed.
    """
    with tempfile.TemporaryDirectory(prefix="takes-") as folder:
        found = []
        for key, names in takes.items():
            planned = _plan(settings, database, batch_id, names, gated, Path(folder, key))
            found.append(_priced(settings, database, provider, planned, key, names))
        yield found


def _plan(
    settings: Settings, database: Database, batch_id: str, names: Sequence[str], gated: Collection[str], folder: Path
) -> Plan:
    """A saved plan of these jobs, what waits at their gates, and what they are made from."""
    with database.begin() as connection:
        known = {job.name: job for job in exports.exported_jobs(connection, batch_id)}
    wanted = {*names, *_followers(known, set(gated) & set(names))}
    folder.mkdir()
    manifest = folder / "takes.yaml"
    manifest.write_text(exporting.manifest(batch_id, settings, only=wanted), "utf-8", "surrogatepass")
    planned = plan(manifest, settings)
    if not planned.only_over_budget:  # what is there already is in it, too; what is bought is held against it later
        require_valid(planned)
    jobs = tuple(
        job._replace(row=_row(known[job.id])) for job in planned.jobs if job.id in exporting.with_needs(wanted, known)
    )
    estimate = sum((job.estimate for job in jobs), ZERO)
    chosen = replace(planned, jobs=jobs, job_count=len(jobs), estimate=estimate, errors=())
    save_plan(chosen, folder / "takes.json")
    return plan(folder / "takes.json", settings)


def _row(job: ExportedJob) -> dict[str, object] | None:
    return None if job.row is None else dict(job.row)


def _followers(known: Mapping[str, ExportedJob], gated: Collection[str]) -> set[str]:
    """The jobs that wait for the results of these, however far down, or are skipped because one was not wanted."""
    found: set[str] = set()
    above = set(gated)
    while above:
        above = {
            job.name
            for job in known.values()
            if job.state in (JobState.WAITING, JobState.SKIPPED)
            and job.name not in found
            and not above.isdisjoint(job.needs)
        }
        found |= above
    return found


def _priced(
    settings: Settings,
    database: Database,
    provider: Provider | None,
    planned: Plan,
    key: str,
    names: tuple[str, ...],
) -> PricedTakes:
    comparison = _compared(settings, database, provider, planned, names)
    bought = comparison.bought()
    require_valid(bought)
    terms = None
    if provider is not None:
        with database.begin() as connection:
            terms = terms_of(connection, provider, bought)
        terms = None if terms is None else with_told(terms, provider)
    others = tuple(job.id for job in bought.jobs if job.id not in names)
    at_most = bought.amount if terms is None else terms.at_most
    return PricedTakes(key, names, others, Path(planned.file), bought.amount, at_most, terms)


def _compared(
    settings: Settings, database: Database, provider: Provider | None, planned: Plan, names: tuple[str, ...]
) -> Comparison:
    shelf = find_shelf(database, planned, provider)
    destination = open_destination(planned.destination or settings.destination).describe()
    return compare_plan(database, planned, shelf, destination, again=names)
