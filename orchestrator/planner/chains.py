"""The chains that `from` makes of jobs: each needed job is there, gives what is wanted, and none needs itself."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple, Protocol

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.manifest.values import shorten
from orchestrator.planner.fields import JobType
from orchestrator.planner.references import Reference

_MAX_SUGGESTED_FROM = 200  # jobs; a fuzzy search through many thousand of them takes seconds, for each fault
_MAX_SHOWN = 6


class Link(Protocol):
    """One job of the manifest, valid or not, as a part of chains. `findings` are put down to it."""

    @property
    def type(self) -> JobType | None: ...
    @property
    def references(self) -> Sequence[Reference]: ...
    @property
    def findings(self) -> Findings: ...


class Chains(NamedTuple):
    """`order` are the jobs that need others, each after those it needs; `broken` those that faults stand against."""

    order: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()


def check_chains(known: Mapping[str, Link], absent: frozenset[str] = frozenset()) -> Chains:
    """Reports what is wrong with chains. `known` are all jobs by their ids.

    What is in or behind a cycle is broken, too. `absent` may be needed though they are not among the jobs.
    """
    links = {job: link for job, link in known.items() if link.references}
    faulty = {job for job, link in links.items() if not _check_references(link, known, absent)}
    needs = {job: [need for need in _needs(link) if need in links] for job, link in links.items()}
    ordered, cycles = _ordered(needs)
    for cycle in cycles:
        _report_cycle(cycle, known[cycle[0]])
    broken = faulty | (links.keys() - set(ordered))
    return Chains(tuple(job for job in ordered if job not in broken), frozenset(broken))


def _needs(link: Link) -> tuple[str, ...]:
    """The ids of the jobs that a job needs, each once, in the order in which they stand."""
    return tuple(dict.fromkeys(reference.job for reference in link.references))


def _check_references(link: Link, known: Mapping[str, Link], absent: frozenset[str]) -> bool:
    given = (reference for reference in link.references if reference.job not in absent)
    sound = [_check_reference(reference, known, link.findings) for reference in given]
    return all(sound)


def _check_reference(reference: Reference, known: Mapping[str, Link], findings: Findings) -> bool:
    needed = known.get(reference.job)
    name = f"`{shorten(reference.job)}`"
    if needed is None:
        message = f"there is no job {name}{_hint(reference.job, known)}"
        findings.error(Code.UNKNOWN_DEPENDENCY, reference.name, message, reference.path)
    elif needed.type == "video" and reference.use == "original":
        message = f"{name} makes a video and this takes a picture; add `use: final_frame` to go on from its end"
        findings.error(Code.INVALID_VALUE, reference.name, message, reference.path)
    elif needed.type == "text":
        message = f"{name} makes a text, which is no picture"
        findings.error(Code.INVALID_VALUE, reference.name, message, reference.path)
    elif needed.type == "image" and reference.use == "final_frame":
        message = f"{name} makes a picture, only a video has a `final_frame`; leave `use` out"
        findings.error(Code.INVALID_VALUE, reference.use_place, message, f"{reference.path}.use")
    else:
        return True
    return False


def _hint(name: str, known: Mapping[str, Link]) -> str:
    if f"{name}.1" in known:
        return f"; with `takes` it is `{shorten(name)}.1` and so on"
    return did_you_mean(name, known) if len(known) <= _MAX_SUGGESTED_FROM else ""


def _ordered(needs: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The ids in order, without those in or behind a cycle; and the cycles."""
    ordered: list[str] = []
    sorter = TopologicalSorter(needs)
    with suppress(CycleError):  # it still gives whatever does not depend on one
        sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered += ready
        sorter.done(*ready)
    return ordered, _cycles(needs, set(ordered)) if len(ordered) < len(needs) else []


def _cycles(needs: Mapping[str, Sequence[str]], ordered: set[str]) -> list[list[str]]:
    """A cycle that each blocked id leads into, each cycle once: whoever is blocked needs someone who is blocked."""
    cycles = []
    seen: set[str] = set()
    for start in needs:
        path: dict[str, None] = {}
        job = start
        while job not in seen and job not in ordered:
            seen.add(job)
            path[job] = None
            job = next(need for need in needs[job] if need not in ordered)
        if job in path:
            walked = list(path)
            cycles.append(walked[walked.index(job) :])
    return cycles


def _report_cycle(cycle: list[str], first: Link) -> None:
    shown = [f"`{shorten(job)}`" for job in cycle[:_MAX_SHOWN]]
    more = [f"… ({len(cycle)} jobs)"] if len(cycle) > _MAX_SHOWN else []
    way = ", which needs ".join([*shown[1:], *more, shown[0]])
    message = f"{shown[0]} needs {way}: none of them can be made first"
    reference = next(found for found in first.references if found.job == cycle[1 % len(cycle)])
    first.findings.error(Code.DEPENDENCY_CYCLE, reference.name, message, reference.path)
