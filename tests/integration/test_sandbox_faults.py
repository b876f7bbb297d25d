"""Each fault on the wire, and what it does to the ledger."""

import io
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from orchestrator.sandbox import FaultRule, Faults, Sandbox

MUG = {"type": "image", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "1:1"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": "key", "X-API-Secret": "secret"}
    with httpx.Client(base_url=sandbox.base_url, headers=headers, timeout=5) as opened:
        yield opened


def submit(client: httpx.Client, *items: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/generation-requests?wait=false", json={"requests": items or (MUG,)})


@pytest.mark.parametrize(
    ("kind", "status", "charges"),
    [
        ("429", 429, 0),
        ("401", 401, 0),
        ("402", 402, 0),
        ("403", 403, 0),
        ("500-before-charge", 500, 0),
        ("500-after-charge", 500, 1),
        ("502-html", 502, 0),
        ("502-html-after-charge", 502, 1),
        ("garbage", 200, 1),
    ],
)
def test_bad_answers_to_a_submission(
    sandbox: Sandbox, client: httpx.Client, kind: str, status: int, charges: int
) -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind=kind)))
    response = submit(client)
    assert response.status_code == status
    assert response.headers["X-Sandbox"] == "1"
    assert len(sandbox.charges()) == charges
    assert submit(client).json()["status"] == "completed"
    assert client.get("/sandbox/stats").json()["posts"] == 2


@pytest.mark.parametrize(("kind", "charges"), [("drop-before-charge", 0), ("drop-after-charge", 1)])
def test_a_dropped_submission_has_no_answer(sandbox: Sandbox, client: httpx.Client, kind: str, charges: int) -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind=kind)))
    with pytest.raises(httpx.RemoteProtocolError):
        submit(client)
    assert len(sandbox.charges()) == charges


def test_a_slow_submission_is_charged_while_the_caller_waits(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind="slow", seconds=1)))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/generation-requests", json={"requests": [MUG]}, timeout=0.2)
    assert len(sandbox.charges()) == 1


def test_every_second_item_of_a_submission_fails(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind="partial-failure")))
    answer = submit(client, MUG, MUG, MUG).json()
    assert answer["status"] == "partial_failure"
    assert [response["status"] for response in answer["responses"]] == ["completed", "failed", "completed"]


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(3.0, "3"), (0.25, "0.25"), ("absent", None), ("absurd", "86400")]
)
def test_retry_after_takes_every_form(
    sandbox: Sandbox, client: httpx.Client, retry_after: Any, expected: str | None
) -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind="429", retry_after=retry_after)))
    assert submit(client).headers.get("Retry-After") == expected


def test_retry_after_can_be_a_date(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.play(Faults.of(FaultRule(at="poll", kind="429", retry_after="http-date")))
    assert client.get("/v1/generation-requests/x").headers["Retry-After"].endswith(" GMT")


@pytest.mark.parametrize(("kind", "status"), [("401", 401), ("404", 404), ("429", 429), ("500", 500)])
def test_bad_answers_to_a_poll(sandbox: Sandbox, client: httpx.Client, kind: str, status: int) -> None:
    url = f"/v1/generation-requests/{submit(client).json()['request_id']}"
    sandbox.play(Faults.of(FaultRule(at="poll", kind=kind)))
    assert client.get(url).status_code == status
    assert client.get(url).status_code == 200


def test_a_poll_can_be_dropped_or_slow(sandbox: Sandbox, client: httpx.Client) -> None:
    url = f"/v1/generation-requests/{submit(client).json()['request_id']}"
    sandbox.play(Faults.of(FaultRule(at="poll", kind="drop"), FaultRule(at="poll", kind="slow", seconds=0.2)))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(url)
    started = time.monotonic()
    assert client.get(url).status_code == 200
    assert time.monotonic() - started >= 0.2


def test_polls_can_say_the_unexpected(sandbox: Sandbox, client: httpx.Client) -> None:
    url = f"/v1/generation-requests/{submit(client).json()['request_id']}"
    kinds = ("unknown-status", "missing-responses", "no-assets", "no-original")
    sandbox.play(Faults.of(*(FaultRule(at="poll", kind=kind) for kind in kinds)))
    unknown, missing, no_assets, no_original = (client.get(url).json() for _ in kinds)
    assert unknown["status"] == "sandbox_undocumented"
    assert "responses" not in missing
    assert no_assets["responses"][0]["output_assets"] == []
    assert "original_data_url" not in no_original["responses"][0]["output_assets"][0]
    assert "original_data_url" in client.get(url).json()["responses"][0]["output_assets"][0]


@pytest.mark.parametrize(("kind", "status"), [("403", 403), ("404", 404), ("500", 500), ("expired", 403)])
def test_refused_downloads(sandbox: Sandbox, client: httpx.Client, kind: str, status: int) -> None:
    url = original(client)
    sandbox.play(Faults.of(FaultRule(at="asset", kind=kind)))
    assert httpx.get(url).status_code == status
    assert httpx.get(url).status_code == 200


def test_damaged_downloads(sandbox: Sandbox, client: httpx.Client) -> None:
    url = original(client)
    whole = httpx.get(url).content
    kinds = ("truncated-no-length", "corrupt", "html", "empty", "slow")
    sandbox.play(Faults.of(*(FaultRule(at="asset", kind=kind, seconds=0.1) for kind in kinds)))
    short, corrupt, page, empty, slow = (httpx.get(url) for _ in kinds)
    assert "Content-Length" not in short.headers
    assert short.content == whole[: len(whole) // 2]
    assert len(corrupt.content) == len(whole)
    assert corrupt.content[:8] == whole[:8]
    with pytest.raises((OSError, SyntaxError)), Image.open(io.BytesIO(corrupt.content)) as picture:
        picture.load()
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (empty.status_code, empty.content) == (200, b"")
    assert slow.content == whole


def test_a_truncated_download_breaks_its_promised_length(sandbox: Sandbox, client: httpx.Client) -> None:
    url = original(client)
    sandbox.play(Faults.of(FaultRule(at="asset", kind="truncated")))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        httpx.get(url)


def test_balance_and_models_can_fail_too(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.play(Faults.of(FaultRule(at="balance", kind="500"), FaultRule(at="models", kind="html")))
    assert client.get("/v1/me/balance").status_code == 500
    assert client.get("/v1/models").headers["Content-Type"].startswith("text/html")


def test_faults_can_be_set_over_http(client: httpx.Client) -> None:
    rule = {"at": "submit", "kind": "429", "times": 1, "match": "mug"}
    assert client.post("/sandbox/faults", json={"rules": [rule]}).status_code == 200
    assert submit(client).status_code == 429
    assert client.get("/sandbox/faults").json()["rules"][0]["struck"] == 1
    refused = client.post("/sandbox/faults", json={"rules": [{"at": "submit", "kind": "nonsense"}]})
    assert refused.status_code == 400


def original(client: httpx.Client) -> str:
    answer = submit(client).json()
    return str(answer["responses"][0]["output_assets"][0]["original_data_url"])


def test_a_price_other_than_the_catalogues_is_charged_and_told(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.play(
        Faults.of(
            FaultRule(at="submit", kind="price", factor=Decimal("1.25")),
            FaultRule(at="submit", kind="price", factor=Decimal("0.5")),
        )
    )
    told = [submit(client).json()["metadata"]["credits_spent"] for _ in range(3)]
    assert told == ["17.5", "7", "14"]
    assert client.get("/v1/me/balance").json() == {"credits": "99961.5"}


def test_a_top_up_is_in_the_balance_also_after_a_restart(
    tmp_path: Path, sandbox: Sandbox, client: httpx.Client
) -> None:
    submit(client)
    (account,) = sandbox.balances()
    sandbox.top_up(account, Decimal(4))
    response = client.post("/sandbox/top-up", json={"account": account, "credits": "0.5"})
    assert response.json()["balances"] == {account: "99990.5"}
    assert client.post("/sandbox/top-up", json={"account": account, "credits": "-1"}).status_code == 400
    sandbox.stop()
    sandbox.start()
    assert sandbox.balances() == {account: Decimal("99990.5")}
