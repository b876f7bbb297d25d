"""The sandbox over real HTTP: submission, polling, money and assets."""

import base64
import io
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from orchestrator.sandbox import Sandbox
from orchestrator.sandbox.asset_urls import TWO_MARKER

MUG = {"type": "image", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "16:9"}
SPIN = {**MUG, "type": "video", "model": "seedance-2-0", "duration_seconds": 5}
POSTS = "/v1/generation-requests?wait=false"


class FakeTime:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def sandbox(tmp_path: Path, clock: FakeTime) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", balance=Decimal(1000), clock=clock) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": "key", "X-API-Secret": "secret"}
    with httpx.Client(base_url=sandbox.base_url, headers=headers) as opened:
        yield opened


def submit(client: httpx.Client, *items: Mapping[str, object]) -> dict[str, Any]:
    response = client.post(POSTS, json={"requests": items})
    assert response.status_code == 200, response.text
    return dict(response.json())


def poll(client: httpx.Client, answer: dict[str, Any]) -> dict[str, Any]:
    response = client.get(f"/v1/generation-requests/{answer['request_id']}")
    assert response.status_code == 200, response.text
    return dict(response.json())


def balance(client: httpx.Client) -> str:
    return str(client.get("/v1/me/balance").json()["credits"])


def test_a_request_is_queued_then_processing_then_completed(client: httpx.Client, clock: FakeTime) -> None:
    answer = submit(client, MUG)
    assert (answer["status"], answer["poll_after_seconds"]) == ("queued", 2.0)
    clock.now += 2
    assert poll(client, answer)["status"] == "processing"
    clock.now += 20
    done = poll(client, answer)
    assert (done["status"], done["poll_after_seconds"]) == ("completed", None)
    assert done["metadata"] == {"credits_spent": "14"}
    assert done["requests"][0]["model"] == "gpt2image"
    (response,) = done["responses"]
    assert response["metadata"] == {"model": "gpt2image", "credits_spent": "14"}
    assert poll(client, answer) == done


def test_credits_are_charged_at_acceptance_and_refunded_for_what_fails(
    client: httpx.Client, sandbox: Sandbox, clock: FakeTime
) -> None:
    assert balance(client) == "1000.0"
    failing = {**SPIN, "prompt": "a mug [sandbox:fail]"}
    moderated = {**MUG, "prompt": "a mug [sandbox:moderation]"}
    answer = submit(client, MUG, failing, moderated)
    assert balance(client) == "772.0"
    clock.now += 100
    done = poll(client, answer)
    assert done["status"] == "partial_failure"
    assert [response["status"] for response in done["responses"]] == ["completed", "failed", "failed"]
    assert [response["metadata"]["credits_spent"] for response in done["responses"]] == ["14", "0", "0"]
    assert [response["error"]["code"] for response in done["responses"][1:]] == ["generation_failed", "moderation"]
    assert balance(client) == "986.0"
    assert [entry.credits for entry in sandbox.charges()] == [Decimal(14), Decimal(200), Decimal(14)]
    assert sorted(entry.credits for entry in sandbox.ledger() if entry.kind == "refund") == [14, 200]


def test_rejected_items_are_not_charged(client: httpx.Client, sandbox: Sandbox, clock: FakeTime) -> None:
    wrong = {**MUG, "aspect_ratio": "99:1"}
    answer = submit(client, wrong)
    assert (answer["status"], answer["poll_after_seconds"]) == ("rejected", None)
    assert answer["responses"][0]["error"]["code"] == "unsupported_aspect_ratio"
    mixed = submit(client, MUG, wrong)
    assert mixed["status"] == "queued"
    clock.now += 100
    assert poll(client, mixed)["status"] == "partial_failure"
    assert [entry.model for entry in sandbox.charges()] == ["gpt-image-2"]


def test_a_request_that_the_balance_does_not_cover_is_refused_whole(client: httpx.Client, sandbox: Sandbox) -> None:
    response = client.post(POSTS, json={"requests": [SPIN] * 6})
    assert response.status_code == 402
    assert response.json()["error"]["code"] == "insufficient_credits"
    assert "PAYMENT-REQUIRED" not in response.headers
    assert sandbox.ledger() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"requests": []}', 400),
        (b'{"requests": {}}', 400),
        (b'{"requests": ["x"]}', 400),
        (b'{"requests": [{"prompt": "\\ud800"}]}', 400),
        (b'{"request_id": "x", "requests": [{}]}', 400),
    ],
)
def test_malformed_bodies_are_refused(client: httpx.Client, body: bytes, status: int) -> None:
    response = client.post(POSTS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert set(response.json()["error"]) == {"code", "message"}
    assert client.post(POSTS, content=body).status_code == 415


def test_a_call_without_credentials_is_asked_for_a_payment(client: httpx.Client) -> None:
    response = httpx.post(f"{client.base_url}{POSTS}", json={"requests": [MUG]})
    assert response.status_code == 402
    requirement = json.loads(base64.b64decode(response.headers["PAYMENT-REQUIRED"]))
    assert requirement["x402Version"] == 2
    assert [option["network"].partition(":")[0] for option in requirement["accepts"]] == ["eip155", "solana"]
    assert requirement["accepts"][0]["amount"] == "76738"  # 14 credits at 0.0052 USD, and 0.003938 USD of gas


def test_requests_belong_to_their_account(client: httpx.Client) -> None:
    url = f"{client.base_url}/v1/generation-requests/{submit(client, MUG)['request_id']}"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer other:secret"}).status_code == 404
    assert httpx.get(url, headers={"Authorization": "Bearer key:secret"}).status_code == 200
    assert httpx.get(url, headers={"X-API-Key": "key"}).status_code == 401
    assert client.get("/sandbox/stats").json()["auth_failures"] == 2


def test_pictures_are_what_was_ordered_and_expire(client: httpx.Client, clock: FakeTime, sandbox: Sandbox) -> None:
    answer = submit(client, {**MUG, "output_format": "webp"})
    clock.now += 100
    (asset,) = poll(client, answer)["responses"][0]["output_assets"]
    assert asset["original_data_url"].startswith(sandbox.asset_url + "/")
    response = httpx.get(asset["original_data_url"])
    assert response.headers["X-Sandbox"] == "1"
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert response.headers["Content-Type"] == asset["mime_type"] == "image/webp"
    assert httpx.get(asset["original_data_url"]).content == response.content
    with Image.open(io.BytesIO(response.content)) as picture:
        picture.load()
        assert picture.size == (asset["width"], asset["height"]) == (512, 288)
    assert httpx.get(asset["thumbnail_image_url"]).headers["Content-Type"] == "image/jpeg"
    assert httpx.get(asset["original_data_url"] + "0").status_code == 403
    clock.now += 72 * 3600
    assert httpx.get(asset["original_data_url"]).status_code == 403


def test_a_job_may_have_two_originals(client: httpx.Client, clock: FakeTime) -> None:
    answer = submit(client, {**MUG, "prompt": f"two mugs {TWO_MARKER}"})
    clock.now += 100
    first, second = poll(client, answer)["responses"][0]["output_assets"]
    assert second["url"] == second["original_data_url"]
    assert (second["thumbnail_image_url"], second["mime_type"]) == ("", first["mime_type"])
    files = [httpx.get(asset["original_data_url"]) for asset in (first, second)]
    assert len({file.content for file in files}) == 2
    for file in files:
        with Image.open(io.BytesIO(file.content)) as picture:
            picture.load()
            assert picture.size == (first["width"], first["height"])


def test_videos_come_with_their_previews(client: httpx.Client, clock: FakeTime) -> None:
    answer = submit(client, SPIN, {**SPIN, "model": "veo3-1", "duration_seconds": 4})
    clock.now += 100
    spin, veo = (response["output_assets"][0] for response in poll(client, answer)["responses"])
    assert spin["duration_seconds"] == 5
    for field, kind in (("original_data_url", "video"), ("thumbnail_silent_video_mp4_url", "video")):
        with av.open(io.BytesIO(httpx.get(spin[field]).content), "r") as container:
            assert container.streams.video[0].type == kind
    with Image.open(io.BytesIO(httpx.get(spin["final_frame_image_url"]).content)) as frame:
        assert frame.size == (spin["width"], spin["height"])
    assert veo["final_frame_image_url"] == ""


def test_only_models_of_imgnai_tag_their_results(client: httpx.Client, clock: FakeTime) -> None:
    answer = submit(client, MUG, {**MUG, "model": "gen"})
    clock.now += 100
    assets = [response["output_assets"][0] for response in poll(client, answer)["responses"]]
    assert ["tags" in asset["metadata"] for asset in assets] == [False, True]


def test_waiting_holds_the_answer_until_the_end(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer key:secret"}
    with Sandbox(tmp_path, time_scale=0.01) as sandbox:
        url = f"{sandbox.base_url}/v1/generation-requests?wait=true"
        answer = httpx.post(url, json={"requests": [MUG]}, headers=headers).json()
    assert answer["status"] == "completed"


def test_models_are_listed_in_the_guides_field_names(client: httpx.Client) -> None:
    models = {model["name"]: model for model in client.get("/v1/models").json()["data"]}
    assert len(models) == 111
    assert models["gpt-image-2"]["model_key"] == "gpt2image"
    assert models["gpt-image-2"]["multi_image_inputs_allowed"] == 16
    seedance = models["seedance-2-0"]
    assert seedance["video_lengths_and_costs"] == {"5": "200", "10": "375", "15": "550"}
    assert seedance["maximum_reference_audio_files"] == 3
    assert "lf_needs_ff" in seedance["custom_rules"]


def test_ledger_requests_and_statistics_can_be_read_over_http(client: httpx.Client) -> None:
    submit(client, MUG)
    submit(client, MUG, MUG)
    stats = client.get("/sandbox/stats").json()
    assert (stats["posts"], stats["in_flight"], stats["max_in_flight"]) == (2, 3, 3)
    ledger = client.get("/sandbox/ledger").json()
    assert [entry["credits"] for entry in ledger["entries"]] == ["14", "14", "14"]
    assert list(ledger["balances"].values()) == ["958"]
    assert len({post["body_sha256"] for post in ledger["posts"]}) == 2
    assert len(client.get("/sandbox/requests").json()["requests"]) == 2


def test_sixty_jobs_flow_in_a_moment(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer key:secret"}
    started = time.monotonic()
    with (
        Sandbox(tmp_path, time_scale=0.01) as sandbox,
        httpx.Client(base_url=sandbox.base_url, headers=headers) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda _: submit(client, MUG), range(60)))
        while any(poll(client, answer)["poll_after_seconds"] is not None for answer in answers):
            time.sleep(0.02)
        assert len(sandbox.charges()) == 60
    assert time.monotonic() - started < 10  # about 0.7 s on an idle machine
