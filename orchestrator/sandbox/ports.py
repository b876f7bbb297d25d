"""The two loopback ports of a sandbox, remembered so that a restart has the same addresses."""

import json
import socket
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Listeners:
    """The bound sockets of the API and of the assets."""

    api: socket.socket
    assets: socket.socket

    @property
    def base_url(self) -> str:
        return _origin(self.api)

    @property
    def asset_url(self) -> str:
        return _origin(self.assets)


def bind(state_dir: Path, port: int) -> Listeners:
    """Binds `port` (0: the remembered one when free, else any) and a port for assets; remembers both.

    Raises OSError when a port that was asked for is taken.
    """
    path = state_dir / "ports.json"
    remembered = _remembered(path)
    api = _listen(port) if port else _listen_if_free(remembered.get("api", 0))
    listeners = Listeners(api, _listen_if_free(remembered.get("assets", 0)))
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"api": _number(listeners.api), "assets": _number(listeners.assets)}))
    new.replace(path)
    return listeners


def _remembered(path: Path) -> dict[str, int]:
    try:
        ports = json.loads(path.read_text())
        return {name: int(ports[name]) for name in ("api", "assets")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _listen_if_free(port: int) -> socket.socket:
    try:
        return _listen(port)
    except OSError:
        return _listen(0)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def _number(listener: socket.socket) -> int:
    number = listener.getsockname()[1]
    assert isinstance(number, int), "an IPv4 address is (host, port)"
    return number


def _origin(listener: socket.socket) -> str:
    return f"http://{HOST}:{_number(listener)}"
