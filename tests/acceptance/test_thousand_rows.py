"""A catalogue of a thousand rows, from a CSV file to a thousand stored files: each paid for once."""

import csv
import json
from decimal import Decimal

import pytest

from orchestrator.sandbox import Sandbox
from tests.acceptance.conftest import Cli

ROWS = 1000
PRICE = 3  # of one image of model gen
TEMPLATE = {
    "for_each": "things.csv",
    "id": "{{ sku }}",
    "prompt": "{{ name }} in {{ colour }}",
    "labels": {"colour": "{{ colour }}"},
}


@pytest.mark.large
@pytest.mark.timeout(600)
def test_a_thousand_rows_are_worked_to_the_end(cli: Cli, provider: Sandbox, account: dict[str, str]) -> None:
    with (cli.folder / "things.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["sku", "name", "colour"])
        rows.writerows([f"sku-{n:04}", f"Thing {n}", ("red", "green", "blue", "white")[n % 4]] for n in range(ROWS))
    defaults = {"model": "gen", "aspect_ratio": "1:1", "output_format": "jpg"}
    manifest = cli.manifest("thousand", [TEMPLATE], defaults=defaults, budget={"credits": ROWS * PRICE})
    result = cli("submit", manifest, "--yes", "--json", env=account, seconds=500)
    assert result.code == 0, result.stderr
    document = result.json
    assert (document["state"], document["jobs"]["completed"]) == ("completed", ROWS)
    assert document["credits"]["spent"] == str(ROWS * PRICE)
    assert sum((entry.credits for entry in provider.charges()), Decimal(0)) == ROWS * PRICE
    assert len({entry.prompt for entry in provider.charges()}) == ROWS
    (index,) = cli.home.parent.rglob("thousand/index.json")
    assets = json.loads(index.read_bytes())["assets"]
    assert sorted(asset["job"] for asset in assets) == [f"sku-{n:04}" for n in range(ROWS)]
    assert sum(asset["labels"] == {"colour": "red"} for asset in assets) == ROWS // 4
    again = cli("submit", manifest, "--json", env=account)
    assert (again.code, again.json["reused"], again.json["credits"]["spent"]) == (0, ROWS, "0"), again.stderr
