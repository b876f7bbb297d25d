"""Flower, beside a real worker, a real Redis and the sandbox: it shows jobs, and only to those who may look."""

import ast
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from workers.kinds import KINDS

from .celery_site import Site, make_site
from .redis_server import PASSWORD, RedisServer, free_port, require_redis

pytestmark = pytest.mark.redis
FILM = {"type": "video", "model": "ltx-2-3", "prompt": "A turn", "duration_seconds": 5}


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    require_redis()
    with RedisServer(tmp_path) as server, Sandbox(tmp_path / "sandbox", time_scale=0.1) as sandbox:
        yield make_site(tmp_path, database, database_url, server.url, sandbox, monkeypatch)


def _wait(look: Callable[[], Any], site: Site, *, seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, site.logs()
        time.sleep(0.1)
    return found


def _password(site: Site) -> str | None:
    said = re.search(r"with the password (\S+)", (site.folder / "flower.log").read_text())
    return said[1] if said else None


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthcheck").is_success
    except httpx.ConnectError:
        return False


def _tasks(client: httpx.Client, search: str) -> list[dict[str, Any]]:
    """What the page lists for these words in its search field."""
    query: dict[str, str | int] = {
        "draw": 1,
        "start": 0,
        "length": 100,
        "search[value]": search,
        "order[0][column]": 0,
        "columns[0][data]": "name",
    }
    return list(client.get("/tasks/datatable", params=query).raise_for_status().json()["data"])


def test_flower_shows_jobs_behind_a_password(site: Site) -> None:
    images = [{"id": f"mug-{number}", "prompt": f"A mug, number {number}"} for number in range(2)]
    jobs: list[dict[str, Any]] = [*images, FILM | {"id": "turn"}, {"id": "no mug", "prompt": "No mug [sandbox:fail]"}]
    batch_id = site.submit(jobs)
    port = free_port()
    with site.celery("flower", f"--port={port}", name="flower"), httpx.Client(timeout=20) as client:
        client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
        password = _wait(lambda: _password(site), site)
        _wait(lambda: _answers(client), site)
        assert {client.get(page).status_code for page in ("/", "/tasks", "/api/tasks", "/broker")} == {401}
        client.auth = ("flower", password)
        with site.worker():
            site.wait_ended(batch_id)
            ended = _wait(lambda: _if_ended(_tasks(client, f"{batch_id} worker:katana"), len(jobs)), site)
            workers = client.get("/api/workers", params={"refresh": 1})
            chunks = _wait(lambda: _tasks(client, f"args:{batch_id} worker:worker@test name:copy"), site)
            listed = client.get("/workers", params={"json": 1}).json()["data"]
            assert client.post("/api/worker/shutdown/worker@test").status_code == 403
            shown = "".join(
                client.get(page).text for page in ("/", "/tasks", "/broker", f"/task/{ended['turn']['uuid']}")
            )
        everything = client.get("/api/tasks").text
    _assert_told(site, batch_id, ended)
    assert {queue["name"] for queue in workers.json()["worker@test"]["active_queues"]} == set(KINDS)
    assert [worker["hostname"] for worker in listed] == ["worker@test"]
    assert all(re.fullmatch(r"\d completed", chunk["result"]) for chunk in chunks)
    names = {task["name"] for task in httpx.Response(200, text=everything).json().values()}
    assert names <= {"image · gen", "video · ltx-2-3", *KINDS}
    for secret in (PASSWORD, "katana-secret", password):
        assert secret not in workers.text + shown + everything
    assert not any(secret in site.logs().replace(f"password {password}", "") for secret in (PASSWORD, password))


def _if_ended(tasks: list[dict[str, Any]], count: int) -> dict[str, dict[str, Any]] | None:
    """The tasks by the job's own id, once they are so many and all have ended."""
    ended = {ast.literal_eval(task["args"])[0]: task for task in tasks if task["state"] in ("SUCCESS", "FAILURE")}
    return ended if len(ended) == len(tasks) == count else None


def _assert_told(site: Site, batch_id: str, tasks: dict[str, dict[str, Any]]) -> None:
    turn, failure = tasks["turn"], tasks["no mug"]
    assert (turn["name"], turn["state"]) == ("video · ltx-2-3", "SUCCESS")
    assert turn["args"] == repr(("turn", batch_id, "things"))
    assert turn["result"].startswith("file://")
    assert 0 < turn["runtime"] < 60
    assert turn["received"] <= turn["started"] < turn["succeeded"]
    assert (failure["name"], failure["state"]) == ("image · gen", "FAILURE")
    assert failure["exception"].startswith("provider-failed: ")
