"""Requests of many megabytes: each goes out whole, and what is said before all of one was read still counts."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.katana.client import KatanaClient
from orchestrator.katana.verdict import Kind
from orchestrator.operations.looking import jobs as list_jobs
from orchestrator.operations.submitting import submit
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.01) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def noise(folder: Path, name: str, side: int) -> str:
    """A picture that no compression makes smaller: three bytes a pixel."""
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(folder / name, compress_level=0)
    return name


def test_large_input_files_go_out_whole(site: Site) -> None:
    files = [noise(site.folder, f"{n}.png", 1200) for n in range(3)]
    shape = {"model": "gpt-image-2", "prompt": "A thing", "aspect_ratio": "1:1"}
    items = [{"id": file, "image_urls": [file]} | shape for file in files]
    manifest = site.folder / "things.json"
    manifest.write_text(json.dumps({"version": 1, "name": "things", "jobs": items}))
    document = submit(manifest, site.settings, confirm=lambda _: True)
    assert document["state"] == "completed"
    assert [job["attempts"] for job in list_jobs(document["batch"], site.settings)] == [1, 1, 1]


async def test_a_server_that_answers_before_it_has_read_all() -> None:
    """A gateway that finds the body too large. Its word counts where it arrives whole, else the POST is in doubt."""
    said = b'{"error": {"code": "payload_too_large", "message": "at most 1 MiB"}}'

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(said)
        writer.write(head + said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with KatanaClient(url, {}) as client:
            verdict = await client.submit(b" " * (32 << 20))
    assert (verdict.kind, verdict.status) in ((Kind.REFUSED, 413), (Kind.UNKNOWN, None))
