"""Expiry dates that are missing or already over, for files that are still there: each is fetched all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site

#: Bends the date as it is written down, as a provider would whose clock or zone is another one.
_BENT = """
CREATE FUNCTION bend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.state = 'copying' AND OLD.state <> 'copying' THEN NEW.source_expires_at := now() + interval '{}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bend BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION bend();
"""


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


@pytest.mark.parametrize("left", ["-1 second", "-14 hours", "10 years"])
async def test_a_file_that_is_there_is_fetched_whatever_its_date_says(site: Site, left: str) -> None:
    scope = site.make_batch(2)
    with site.database.begin() as connection:
        connection.execute(text(_BENT.format(left)))
    document = await site.run(scope)
    assert (document["state"], document["credits"]["lost"]) == ("completed", "0")
    site.audit()
