"""Help with writing manifests, as its users have it."""

import json

from jsonschema import Draft202012Validator

from tests.acceptance.conftest import Cli


def test_a_starter_is_written_once_and_plans(fresh_cli: Cli) -> None:
    written = fresh_cli("init", "Spring mugs.yaml")
    assert (written.code, written.stdout) == (0, "")
    assert "orchestrator submit 'Spring mugs.yaml' --sandbox" in written.stderr
    planned = fresh_cli("plan", "Spring mugs.yaml", "--json")
    assert (planned.code, planned.json["name"], planned.json["jobs"]) == (0, "spring-mugs", 6), planned.stderr
    assert planned.json["warnings"] == []
    (fresh_cli.folder / "Spring mugs.yaml").write_text("mine")
    again = fresh_cli("init", "Spring mugs.yaml", "--json")
    assert (again.code, again.json["error"]["code"]) == (2, "usage")
    assert (fresh_cli.folder / "Spring mugs.yaml").read_text() == "mine"
    assert fresh_cli("init", "no/such/folder.yaml").code == 2
    assert fresh_cli("init", "--json").json == {"file": "batch.yaml"}


def test_the_schema_is_one_document(fresh_cli: Cli) -> None:
    printed = fresh_cli("schema")
    assert (printed.code, printed.stderr) == (0, "")
    Draft202012Validator.check_schema(json.loads(printed.stdout))
    assert fresh_cli("schema", "--json").json == printed.json
