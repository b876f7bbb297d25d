"""What a task did, as Flower shows it: which batches it was about, and what became of the jobs that it moved on.

A hint that finds nothing to do, or nothing that moves, is not shown: there are several a second. What is shown has no
time of receipt, by which Flower sorts: so that jobs come first.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from workers.event_stream import EventStream
from workers.shown_text import shown

#: How many jobs (or batches) a task moved, by batch and by the state that they are in now.
Moved = Mapping[tuple[str, str], int]
_BATCHES = 5


def run_shown(task: Any, work_off: Callable[[], Moved]) -> None:
    """Have a task do its work, and tell of it where it moved something or failed. Raises what the work raises."""
    began_at = time.time()
    try:
        moved = work_off()
    except Exception as error:
        _tell(task, began_at, {}, "task-failed", {"exception": shown(f"{type(error).__name__}: {error}")})
        raise
    if moved:
        seconds = time.time() - began_at
        _tell(task, began_at, moved, "task-succeeded", {"result": result_of(moved), "runtime": seconds})


def result_of(moved: Moved) -> str:
    """In words, such as `12 generating, 1 rejected`."""
    counts: Counter[str] = Counter()
    for (_, state), number in moved.items():
        counts[state] += number
    return ", ".join(f"{number} {state}" for state, number in counts.most_common())


def args_of(moved: Moved) -> str:
    """The batches, as the arguments of the task."""
    batches = sorted({batch_id for batch_id, _ in moved})
    more = [f"and {len(batches) - _BATCHES} more"] if len(batches) > _BATCHES else []
    return repr((*batches[:_BATCHES], *more))


def _tell(task: Any, began_at: float, moved: Moved, kind: str, end: dict[str, Any]) -> None:
    about = {"uuid": task.request.id, "name": task.name, "args": args_of(moved), "kwargs": "{}"}
    with EventStream(task.app) as stream:
        stream.send(task.request.hostname, [("task-started", about | {"timestamp": began_at}), (kind, about | end)])
