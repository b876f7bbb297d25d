"""`db copy`, as its users have it: what was bought is known at the new place, and nothing is worked at the old one."""

from orchestrator.store.embedded import EmbeddedPostgres
from tests.acceptance.conftest import MUG, Cli
from tests.postgres import new_database


def test_what_was_bought_is_not_bought_again_from_either_database(
    cli: Cli, account: dict[str, str], postgres: EmbeddedPostgres
) -> None:
    manifest = cli.manifest("moved", [MUG])
    assert cli("db", "copy").code == 2
    assert cli("submit", manifest, "--yes", env=account).code == 0
    refused = cli("db", "copy", "--to", "mysql://127.0.0.1/elsewhere")
    assert (refused.code, "--to names mysql; the store is Postgres" in refused.stderr) == (4, True)
    with new_database(postgres.url, "shared_by_all") as url:
        asked = cli("db", "copy", "--to", url)
        assert (asked.code, "this moves 1 batch, 1 job to shared_by_all" in asked.stderr) == (3, True)
        assert ("nothing was moved" in asked.stderr, "--yes" in asked.stderr) == (True, True)
        copied = cli("db", "copy", "--to", url, "--yes", "--json")
        assert copied.code == 0, copied.stderr
        told = copied.json
        assert (told["rows"]["batch"], told["bound_here"], told["local_schedules"]) == (1, [], {})

        refused = cli("submit", manifest, "--yes", env=account)
        assert (refused.code, "was moved" in refused.stderr) == (4, True)
        shared = account | {"ORCHESTRATOR_DATABASE_URL": url}
        (batch,) = cli("status", "--json", env=shared).json
        assert (batch["name"], batch["state"], batch["credits"]["spent"]) == ("moved", "completed", "14")
        again = cli("submit", manifest, "--yes", "--json", env=shared)
        assert (again.code, again.json["credits"]["spent"]) == (0, "0")
        assert cli("ledger", "--check", env=shared).code == 0
