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


def test_venice_bodies_become_a_manifest(fresh_cli: Cli) -> None:
    bodies = [
        {"model": "qwen-image", "prompt": "A gondola", "width": 1024, "height": 1024, "seed": 7},
        {"model": "seedance-2-0", "prompt": "It leaves", "duration": "5s", "aspect_ratio": "16:9"},
        {"model": "a-chat-model", "messages": []},
    ]
    (fresh_cli.folder / "Old shots.jsonl").write_text("".join(f"{json.dumps(body)}\n" for body in bodies))
    converted = fresh_cli("convert", "venice", "Old shots.jsonl")
    assert converted.code == 0
    assert "Old shots.jsonl:1: seed: has no counterpart" in converted.stderr
    assert "Old shots.jsonl:3: messages: this is a chat completion" in converted.stderr
    (fresh_cli.folder / "shots.yaml").write_text(converted.stdout)
    planned = fresh_cli("plan", "shots.yaml", "--json")
    assert (planned.code, planned.json["name"], planned.json["jobs"]) == (0, "old-shots", 2), planned.stderr

    document = fresh_cli("convert", "venice", "Old shots.jsonl", "--json").json
    assert document["manifest"] == converted.stdout
    assert {note["line"] for note in document["notes"]} == {1, 3}
    (fresh_cli.folder / "none.jsonl").write_text('{"messages": []}\n')
    assert fresh_cli("convert", "venice", "none.jsonl").code == 2
    (fresh_cli.folder / "bad.jsonl").write_text("{\n")
    assert "bad.jsonl:1:" in fresh_cli("convert", "venice", "bad.jsonl").stderr
    assert fresh_cli("convert", "venice", "not-there.jsonl").code == 2
