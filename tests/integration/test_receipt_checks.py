"""What `doctor` says of the receipts and the database that should know them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.operations.check import Health
from orchestrator.operations.receipt_checks import receipts
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def test_a_database_that_is_behind_is_told(site: Site) -> None:
    assert list(receipts(site.settings, site.database)) == []
    asyncio.run(site.run(site.make_batch(2)))
    assert [check.verdict for check in receipts(site.settings, site.database)] == [Health.OK]
    (book,) = all_books(site.settings.home)
    known = next(iter(book.newest(1))).receipt()
    order = known.order.model_copy(update={"submission_id": uuid4()})
    book.write(known.model_copy(update={"request_id": str(uuid4()), "order": order}))
    (check,) = receipts(site.settings, site.database)
    assert (check.verdict, "does not know 1 requests" in check.message) == (Health.FAIL, True)
    assert check.hint is not None
    assert "orchestrator db recover" in check.hint
    (site.settings.home / "postgres.users").touch()  # the requests may be in the database that this home had first
    (check,) = receipts(site.settings, site.database)
    assert "orchestrator db copy" in str(check.hint)
