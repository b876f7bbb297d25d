"""The probes over HTTP: a verdict with its reasons, and an address that cannot be had."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from prometheus_client import CollectorRegistry, Counter

from orchestrator.base.errors import Unusable
from orchestrator.base.settings import load_settings
from orchestrator.base.urls import split_address
from orchestrator.operations.probes import ProbeServer


@contextmanager
def serving(troubles: list[str]) -> Iterator[ProbeServer]:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry)
    server = ProbeServer("127.0.0.1:0", live=list, ready=lambda: troubles, registry=registry)
    server.start()
    with closing(server):
        yield server


def get(server: ProbeServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_each_page_says_what_it_is_asked() -> None:
    troubles: list[str] = []
    with serving(troubles) as server:
        assert get(server, "/livez") == get(server, "/readyz?verbose") == (200, "ok\n")
        troubles += ["it is stopping", "the broker is out of reach"]
        assert get(server, "/readyz") == (503, "it is stopping\nthe broker is out of reach\n")
        assert get(server, "/livez")[0] == 200
        assert "things_total 0.0" in get(server, "/metrics")[1]
        assert get(server, "/elsewhere")[0] == 404


def test_an_address_that_another_worker_has_is_told() -> None:
    with serving([]) as server:
        with pytest.raises(Unusable, match="cannot be served") as caught:
            ProbeServer(f"127.0.0.1:{server.port}", live=list, ready=list, registry=CollectorRegistry())
        assert caught.value.hint is not None


@pytest.mark.parametrize("address", ["9464", "localhost", "127.0.0.1:", ":9464", "h:99999", "h:80/metrics", "u:p@h:80"])
def test_an_address_has_a_host_and_a_port(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_METRICS_ADDRESS", address)
    with pytest.raises(Unusable, match="ORCHESTRATOR_METRICS_ADDRESS must be host:port"):
        load_settings()
    assert split_address("[::1]:9464") == ("::1", 9464)
