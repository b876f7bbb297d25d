"""`plan --expand` and `plan --job`: what templates make, and what is sent."""

import json

from tests.acceptance.conftest import MUG, Cli

TEMPLATE = MUG | {"id": "{{ sku }}", "for_each": [{"sku": "mug"}, {"sku": "cup"}], "prompt": "A {{ sku }}", "takes": 2}


def test_the_concrete_jobs_are_a_manifest_of_their_own(cli: Cli) -> None:
    file = cli.manifest("expanded", [TEMPLATE])
    shown = cli("plan", file, "--expand")
    assert (shown.code, "expanded: 4 jobs" in shown.stderr) == (0, True)
    (cli.folder / "again.yaml").write_text(f"version: 1\nname: again\n{shown.stdout}", encoding="utf-8")
    jobs = cli("plan", "again.yaml", "--expand", "--json").json["expanded"]
    assert [(job["id"], job["prompt"]) for job in jobs] == [
        ("mug.1", "A mug"),
        ("mug.2", "A mug"),
        ("cup.1", "A cup"),
        ("cup.2", "A cup"),
    ]
    assert jobs == cli("plan", file, "--expand", "--json").json["expanded"]


def test_the_request_of_one_job(cli: Cli) -> None:
    file = cli.manifest("request", [TEMPLATE])
    shown = cli("plan", file, "--job", "cup.2")
    body = json.loads(shown.stdout)
    assert (shown.code, body["requests"][0]["prompt"]) == (0, "A cup")
    assert cli("plan", file, "--job", "cup.2", "--json").json["request"] == body
    unknown = cli("plan", file, "--job", "cup.3")
    assert (unknown.code, "has no job cup.3; did you mean `cup.2`?" in unknown.stderr) == (2, True)
    assert cli("plan", file, "--job", "cup.2", "--expand").code == 2
