"""What Tab completes besides commands and options: batches, jobs, schedules and models.

A shell runs these while somebody types. Whatever goes wrong, they offer nothing and say nothing.
"""

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import typer

from orchestrator.base.states import JobState

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings

#: Scripts of shells evaluate what they are given, so that no other characters are: a job's id may hold any.
_HARMLESS = re.compile(r"[\w.,@%+=/-]+", re.ASCII)
FAILED = (JobState.FAILED, JobState.REJECTED)
IN_DOUBT = (JobState.IN_DOUBT,)


def batches(incomplete: str) -> list[tuple[str, str]]:
    """For BATCH."""
    from orchestrator.operations import suggesting

    return _offered(lambda settings: suggesting.batch_words(settings, incomplete))


def jobs(states: Collection[JobState] = tuple(JobState)) -> Callable[..., list[tuple[str, str]]]:
    """For the `--job` of a command with a BATCH: its jobs in these states."""

    def words(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        from orchestrator.operations import suggesting

        given = [ctx.params.get("batch"), *ctx.args]  # only left among the words where an option lacks its value
        batch = next(filter(None, given), None)
        return _offered(lambda settings: suggesting.job_words(settings, batch, incomplete, states)) if batch else []

    return words


def schedules(incomplete: str) -> list[tuple[str, str]]:
    """For the NAME of a schedule."""
    from orchestrator.operations import suggesting

    return _offered(lambda settings: suggesting.schedule_words(settings, incomplete))


def models(incomplete: str) -> list[tuple[str, str]]:
    """For the NAME of a model."""
    from orchestrator.operations import suggesting

    return _offered(lambda settings: suggesting.model_words(settings, incomplete))


def private_models(incomplete: str) -> list[tuple[str, str]]:
    """For a MODEL that can prove its privacy."""
    from orchestrator.operations import suggesting

    return _offered(lambda settings: suggesting.model_words(settings, incomplete, only_private=True))


def _offered(look: "Callable[[Settings], list[tuple[str, str]]]") -> list[tuple[str, str]]:
    from orchestrator.base.settings import load_settings

    try:
        found = look(load_settings())
    except Exception:  # noqa: BLE001 - a message would land in the middle of what is typed
        return []
    return [(word, about) for word, about in found if _HARMLESS.fullmatch(word)]
