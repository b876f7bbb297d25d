"""`prune`: forget what is old and needed no more. Files in destinations are never deleted."""

import shutil
from datetime import timedelta
from typing import Any

from orchestrator.assets.remote import forget_unused
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import sandbox_folder
from orchestrator.operations.planning import inputs_folder
from orchestrator.store import pruning


def prune(settings: Settings, age_seconds: float) -> dict[str, Any]:
    """Forget what ended longer ago: events, sent notifications, repeated rows of reused files, sandboxes' state.

    So are inputs fetched from S3 that nothing has read since.
    What is left can still be reused, listed, exported and accounted for. Returns how many of what were forgotten.
    """
    age = timedelta(seconds=age_seconds)
    with open_database(settings) as database, database.begin() as connection:
        counts = pruning.forget(connection, age)
        sandboxes = pruning.old_sandboxes(connection, age)
    folders = [folder for name in sandboxes if (folder := sandbox_folder(settings.home, name)).is_dir()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    inputs = forget_unused(inputs_folder(settings.home), age_seconds)
    return counts | {"sandboxes": len(folders), "inputs": inputs}
