"""A sandbox comes back as it was: after a stop, after a SIGKILL, after a torn last line."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import Sandbox, SandboxBusy

HEADERS = {"X-API-Key": "key", "X-API-Secret": "secret"}
MUG = {"type": "image", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "1:1"}
FOREGROUND = """
import sys
from pathlib import Path
from orchestrator.sandbox import Sandbox, serve_forever
serve_forever(Sandbox(Path(sys.argv[1]), time_scale=0))
"""


def submit(base_url: str, **fields: Any) -> dict[str, Any]:
    url = f"{base_url}/v1/generation-requests?wait=false"
    return dict(httpx.post(url, json={"requests": [{**MUG, **fields}]}, headers=HEADERS).json())


def snapshot(base_url: str) -> dict[str, Any]:
    """All that must survive."""
    get = {name: httpx.get(f"{base_url}/sandbox/{name}").json() for name in ("ledger", "requests", "stats")}
    kept = ("posts", "requests", "max_in_flight")
    return {**get, "stats": {name: get["stats"][name] for name in kept}}


def test_everything_survives_a_stop(tmp_path: Path) -> None:
    with Sandbox(tmp_path, time_scale=0) as first:
        answer = submit(first.base_url)
        submit(first.base_url, prompt="a mug [sandbox:fail]")
        before, addresses = snapshot(first.base_url), (first.base_url, first.asset_url)
        url = answer["responses"][0]["output_assets"][0]["original_data_url"]
        content = httpx.get(url).content
    with Sandbox(tmp_path, time_scale=0) as second:
        assert (second.base_url, second.asset_url) == addresses
        assert snapshot(second.base_url) == before
        assert httpx.get(url).content == content


def test_a_torn_last_line_costs_only_that_line(tmp_path: Path) -> None:
    with Sandbox(tmp_path, time_scale=0) as first:
        kept, torn = submit(first.base_url), submit(first.base_url)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    with Sandbox(tmp_path, time_scale=0) as second:
        url = f"{second.base_url}/v1/generation-requests"
        assert httpx.get(f"{url}/{kept['request_id']}", headers=HEADERS).status_code == 200
        assert httpx.get(f"{url}/{torn['request_id']}", headers=HEADERS).status_code == 404
        assert len(second.charges()) == 1
        submit(second.base_url)
    with Sandbox(tmp_path, time_scale=0) as third:
        assert len(third.charges()) == 2


def test_another_port_is_taken_when_the_remembered_one_is_gone(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as first:
        port = int(first.base_url.rpartition(":")[2])
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", port))
        occupant.listen()
        with Sandbox(tmp_path) as second:
            assert httpx.get(f"{second.base_url}/v1/models").status_code == 200
        with pytest.raises(OSError, match="in use"), Sandbox(tmp_path, port=port):
            pass


def test_one_state_folder_has_one_sandbox(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as first:
        with pytest.raises(SandboxBusy), Sandbox(tmp_path):
            pass
        assert httpx.get(f"{first.base_url}/v1/models").status_code == 200
    first.stop()
    with first:
        assert httpx.get(f"{first.base_url}/v1/models").status_code == 200


def test_a_killed_sandbox_comes_back_and_a_terminated_one_ends_cleanly(tmp_path: Path) -> None:
    killed = Foreground(tmp_path)
    submit(killed.base_url)
    before = snapshot(killed.base_url)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    again = Foreground(tmp_path)
    assert again.base_url == killed.base_url
    assert snapshot(again.base_url) == before
    assert again.end(signal.SIGTERM) == 0


class Foreground:
    """A sandbox in a process of its own, as `orchestrator sandbox` runs it."""

    def __init__(self, state_dir: Path) -> None:
        command = [sys.executable, "-c", FOREGROUND, os.fspath(state_dir)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert line.startswith("sandbox: API on http://127.0.0.1:"), line
        self.base_url = line.split()[3].rstrip(",")

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        self._process.communicate(timeout=20)
        return self._process.returncode
