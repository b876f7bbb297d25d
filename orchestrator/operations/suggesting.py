"""What a shell offers while somebody types a command. It reads the database that there is, and makes none."""

from collections.abc import Collection

from orchestrator.base.settings import Settings
from orchestrator.base.states import JobState
from orchestrator.catalog.models import TextModel
from orchestrator.operations.catalogue import catalogue
from orchestrator.operations.database import glance_at_database
from orchestrator.store import batches, completing

#: Words, each with what a shell may show beside it.
Words = list[tuple[str, str]]


def batch_words(settings: Settings, typed: str) -> Words:
    """What may stand for BATCH: `latest`, collections, and ids."""
    with glance_at_database(settings) as database:
        if database is None:
            return []
        with database.begin() as connection:
            names = [(name, "the newest batch") for name in completing.collection_names(connection, typed)]
            ids = completing.batch_ids(connection, typed)
    latest = [("latest", "the newest batch of all")] if ids and "latest".startswith(typed) else []
    return [*latest, *names, *ids]


def job_words(settings: Settings, batch: str, typed: str, states: Collection[JobState]) -> Words:
    """The jobs of a batch in these states. Raises UsageError for an unknown batch."""
    with glance_at_database(settings) as database:
        if database is None:
            return []
        with database.begin() as connection:
            return completing.job_names(connection, batches.find_batch(connection, batch), typed, states)


def schedule_words(settings: Settings, typed: str) -> Words:
    """The names of schedules."""
    with glance_at_database(settings) as database:
        if database is None:
            return []
        with database.begin() as connection:
            return [(name, "schedule") for name in completing.schedule_names(connection, typed)]


def model_words(settings: Settings, typed: str, *, only_private: bool = False) -> Words:
    """The models of the catalogue, each with its type; or those that can prove their privacy."""
    found = [model for name, model in sorted(catalogue(settings).models.items()) if name.startswith(typed)]
    if only_private:
        found = [model for model in found if isinstance(model, TextModel) and model.is_private]
    return [(model.name, model.type) for model in found]
