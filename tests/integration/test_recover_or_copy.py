"""`db recover` into an empty database, while all is still in the embedded one."""

import pytest

from orchestrator.base.errors import Unusable
from orchestrator.operations.recovering import require_moved
from orchestrator.store import migrate
from orchestrator.store.database import Database

from .store_rows import make_batch


def test_what_the_embedded_database_knows_is_copied_and_not_recovered(database: Database) -> None:
    require_moved(database)
    make_batch(database)
    with pytest.raises(Unusable, match="nothing to recover") as caught:
        require_moved(database)
    assert "db copy" in (caught.value.hint or "")
    with database.begin() as connection:
        migrate.set_mark(connection, migrate.Mark("moved", migrate.head(), "it"), moved_to="elsewhere")
    require_moved(database)
