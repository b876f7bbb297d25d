"""Which jobs of a batch are canaries: some of each model, which run before all others, with all that they need."""

from collections import Counter
from collections.abc import Collection, Sequence
from graphlib import TopologicalSorter

from orchestrator.planner.result import PlannedJob

_Needs = dict[str, tuple[str, ...]]


def choose_canaries(jobs: Sequence[PlannedJob], each: int, never: Collection[str] = ()) -> set[int]:
    """The canaries (by ordinal) of jobs that are to be sent: the first `each` of every model, or all of fewer.

    Those that need nothing but canaries go first. Where these are not enough, what another one needs, however far up,
    becomes a canary, too: a canary that waited for others to be approved would show nothing. What needs one of `never`,
    the ids of jobs that give no result, is none.
    """
    by_id = {job.id: job for job in jobs}
    needs = {job.id: job.needs for job in jobs}
    order = _sendable(needs, never)
    chosen: set[str] = set()
    counts: Counter[str] = Counter()
    for is_last_try in (False, True):
        for name in order:
            is_wanted = name not in chosen and counts[by_id[name].model] < each
            if is_wanted and (is_last_try or all(need in chosen or need not in needs for need in needs[name])):
                added = _with_needs(name, needs, chosen)
                chosen |= added
                counts.update(by_id[job].model for job in added)
    return {by_id[name].ordinal for name in chosen}


def _sendable(needs: _Needs, never: Collection[str]) -> list[str]:
    """The jobs that do not need any of `never`, each after those that it needs; otherwise in the manifest's order."""
    sorter = TopologicalSorter[str]()
    for name in needs:
        sorter.add(name)
    for name, needed in needs.items():
        sorter.add(name, *(need for need in needed if need in needs))
    doomed = set(never)
    sendable = []
    for name in sorter.static_order():
        if doomed.isdisjoint(needs[name]):
            sendable.append(name)
        else:
            doomed.add(name)
    return sendable


def _with_needs(name: str, needs: _Needs, known: Collection[str]) -> set[str]:
    """A job with all those of its batch that it needs and that are not known yet."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        job = ahead.pop()
        if job in needs and job not in found and job not in known:
            found.add(job)
            ahead += needs[job]
    return found
