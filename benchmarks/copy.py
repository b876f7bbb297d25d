"""Copying files, by their size, beside the plain ways: `python -m benchmarks.copy [--sizes ...] [--rounds N]
[--write]`.

The plain ways only move bytes. `+ proofs` is the same with what we never leave out: the SHA-256 of what came, the
picture or video decoded, and what was stored held against the hash (in a folder by reading it, on S3 by the server).
Ours is the copy step itself; only what it would tell the database goes nowhere.
"""

import argparse
import asyncio
import base64
import hashlib
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import aiohttp

from benchmarks import table
from benchmarks.copy_source import picture, video
from orchestrator.assets.client import AssetClient
from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.memory import CopyMemory
from orchestrator.assets.s3 import s3_client
from orchestrator.assets.spool import Spool
from orchestrator.assets.verify import Kind, verify
from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.engine import copy
from orchestrator.engine.deadlines import CopyPace
from orchestrator.engine.runtime import COPY_SLOTS, Engine
from orchestrator.engine.streaks import Streaks
from orchestrator.store.free_claims import ClaimedAsset, ClaimedCopy

MIB = 1024**2
SIZES = {"100 kB": 100_000, "8 MiB": 8 * MIB, "64 MiB": 64 * MIB}
FILES = {"100 kB": 400, "8 MiB": 24, "64 MiB": 8}
#: Bytes a file, files, and the setting.
MEMORY_RUNS = ((10**6, 64, 256 * MIB), (10**6, 64, 8 * MIB), (64 * MIB, 8, 256 * MIB), (2 * 10**9, 1, 256 * MIB))
BUCKET = "copies"
_CHUNK_BYTES = 256 * 1024
Copy = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where files come from, how large they are, and where they go."""

    source_url: str
    size_bytes: int
    target: str
    scratch: Path
    threads: ThreadPoolExecutor

    @property
    def is_s3(self) -> bool:
        return self.target.startswith("s3://")

    @property
    def kind(self) -> Kind:
        return "image" if self.size_bytes < MIB else "video"

    def url(self, number: int) -> str:
        return f"{self.source_url}/{self.size_bytes}/{number}"

    async def in_thread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(call, *args, **kwargs))


def _put(scene: Scene, body: bytes | Path, number: int, sha256: str | None = None) -> None:
    """A file on the disk, or an object; checked there against its hash, if that is known."""
    if scene.is_s3:
        data = body if isinstance(body, bytes) else body.open("rb")
        checked = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}
        s3_client().put_object(Bucket=BUCKET, Key=f"plain/{number}", Body=data, **checked)
        return
    path = _write(scene, body, number)
    if sha256:
        with path.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _write(scene: Scene, body: bytes | Path, number: int) -> Path:
    path = Path(scene.target) / f"{number}.bin"
    if isinstance(body, Path):
        with body.open("rb") as file:
            os.fsync(file.fileno())
        return body.replace(path)
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    return path


def _put_in_parts(path: Path, number: int, *, proofs: bool) -> None:
    checked = {"ChecksumAlgorithm": "SHA256"} if proofs else {}
    s3_client().upload_file(str(path), BUCKET, f"plain/{number}", ExtraArgs=checked)


@asynccontextmanager
async def in_memory(scene: Scene, *, proofs: bool = False) -> AsyncIterator[Copy]:
    """The whole body at once: memory grows with the size of what is under way."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def move(number: int) -> None:
            async with session.get(scene.url(number)) as response:
                body = await response.read()
            await scene.in_thread(settle, body, number)

        def settle(body: bytes, number: int) -> None:
            if proofs:
                verify(body, scene.kind, None, CopyMemory())
            _put(scene, body, number, hashlib.sha256(body).hexdigest() if proofs else None)

        yield move


@asynccontextmanager
async def by_file(scene: Scene, *, proofs: bool = False, parts: bool = False) -> AsyncIterator[Copy]:
    """Streamed to a file, which is stored once it is whole."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def move(number: int) -> None:
            path = scene.scratch / f"{number}.{uuid4().hex}"
            digest = hashlib.sha256()
            async with session.get(scene.url(number)) as response:
                with path.open("xb") as file:
                    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                        if proofs:
                            digest.update(chunk)
                        file.write(chunk)
            await scene.in_thread(settle, path, number, digest.hexdigest() if proofs else None)
            path.unlink(missing_ok=True)

        def settle(path: Path, number: int, sha256: str | None) -> None:
            if proofs:
                verify(path, scene.kind, None, CopyMemory())
            if parts:
                _put_in_parts(path, number, proofs=proofs)
            else:
                _put(scene, path, number, sha256)

        yield move


@dataclass
class _Unrecorded:
    """What the copy step uses of the engine; the database hears nothing."""

    scene: Scene
    assets: AssetClient
    spool: Spool
    clock: Clock = SYSTEM_CLOCK
    copy_pace: CopyPace = field(default_factory=lambda: CopyPace(COPY_SLOTS))
    failing: Streaks[str] = field(default_factory=lambda: Streaks(time.monotonic))
    useless_tries: Streaks[int] = field(default_factory=lambda: Streaks(time.monotonic))

    def __post_init__(self) -> None:
        self._destination = open_destination(self.scene.target)

    async def transact(self, work: Callable[..., Any], *_: object, **__: object) -> None:
        """What a copy that goes well never does."""
        raise RuntimeError(f"a copy failed: {work.__name__}")

    async def together(self, *_: object) -> None:
        """What would be told the database of several jobs at once."""

    async def in_file_thread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self.scene.in_thread(call, *args, **kwargs)

    def destination(self, _: str) -> Destination:
        return self._destination


@asynccontextmanager
async def ours(scene: Scene) -> AsyncIterator[Copy]:
    """The copy step."""
    async with AssetClient(allow_loopback=True) as client:
        engine = _Unrecorded(scene, client, Spool(scene.scratch / "spool"))

        async def move(number: int) -> None:
            await copy.store(cast(Engine, engine), _work(scene, number))

        yield move


def _work(scene: Scene, number: int) -> ClaimedCopy:
    asset = ClaimedAsset(number, 0, "original", scene.kind, scene.url(number), None, None, stored=False)
    return ClaimedCopy(
        pk=number,
        token=uuid4(),
        batch_id="things-20261122-0001",
        job=f"job-{number}",
        model="gen",
        labels={},
        collection="things",
        destination=scene.target,
        key="{name}/{job}/{index}-{sha8}{ext}",
        created_at=datetime.now(UTC),
        failures=0,
        assets=(asset,),
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds for a number of files: of the clock, and of this process's CPU."""

    files: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def cpu_ms(self) -> float:
        return 1_000 * self.cpu_seconds / self.files


async def _run(way: Callable[[Scene], Any], scene: Scene, files: int, at_once: int) -> Taken:
    numbers = iter(range(files))

    async def work() -> None:
        for number in numbers:
            await move(number)

    async with way(scene) as move:
        await move(files)  # connections, imports
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(at_once)))
        return Taken(files, time.perf_counter() - began, time.process_time() - cpu)


@contextmanager
def _targets(kind: str, folder: Path) -> Iterator[str]:
    """A fresh folder, or a bucket of a moto server that runs as long."""
    if kind == "folder":
        target = folder / "target"
        target.mkdir()
        yield str(target)
        shutil.rmtree(target)
        return
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    os.environ.update(
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="AKIATESTONLY",
        AWS_SECRET_ACCESS_KEY="not-a-secret",
        AWS_DEFAULT_REGION="us-east-1",
    )
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _process(command):
        _await_port(port)
        s3_client.cache_clear()
        s3_client().create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/ours"


def _await_port(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


@contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def source() -> Iterator[str]:
    """The URL of a server of files."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        with _process([sys.executable, "-m", "benchmarks.copy_source", str(port_file)]):
            while not port_file.exists() or not port_file.read_text():
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port_file.read_text()}"


def measure(way: Callable[[Scene], Any], source_url: str, target: str, size: str, at_once: int, files: int) -> Taken:
    """One run, on a target of its own."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(_targets(target, scratch))
        threads = stack.enter_context(ThreadPoolExecutor(12))
        scene = Scene(source_url, SIZES[size], place, scratch, threads)
        return asyncio.run(_run(way, scene, files, at_once))


WAYS: dict[str, Callable[[Scene], Any]] = {
    "in memory": in_memory,
    "by file": by_file,
    "by file, in parts": partial(by_file, parts=True),
    "in memory + proofs": partial(in_memory, proofs=True),
    "by file + proofs": partial(by_file, proofs=True),
    "by file, in parts + proofs": partial(by_file, parts=True, proofs=True),
    "ours": ours,
}
HEAD_SPEED = ("to", "size", "at once", "way", "MB/s", "CPU ms a file", "ours takes (wall)", "ours takes (CPU)")


def speed(source_url: str, cases: Iterable[tuple[str, str]], at_once: int, rounds: int) -> str:
    """How fast each way is, for each target and size."""
    rows = [row for target, size in cases for row in compare(source_url, target, size, at_once, rounds)]
    return table.markdown(HEAD_SPEED, rows)


def compare(source_url: str, target: str, size: str, at_once: int, rounds: int) -> list[list[str]]:
    """Rows of all ways that make sense; each round runs them one after the other, since the machine is noisy."""
    ways = [name for name in WAYS if "parts" not in name or (target == "s3" and size == "64 MiB")]
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in ways:
            taken[name].append(measure(WAYS[name], source_url, target, size, at_once, FILES[size]))
    rows = []
    for name, runs in taken.items():
        rates = [run.files * SIZES[size] / run.wall_seconds / 1e6 for run in runs]
        wall = [mine.wall_seconds / its.wall_seconds for mine, its in zip(taken["ours"], runs, strict=True)]
        cpu = [mine.cpu_ms / its.cpu_ms for mine, its in zip(taken["ours"], runs, strict=True)]
        beside = ["", ""] if name == "ours" else [f"{table.figure(wall, 2)} x", f"{table.figure(cpu, 2)} x"]
        figures = [table.figure(rates, 0), table.figure([run.cpu_ms for run in runs], 2)]
        rows.append([target, size, str(at_once), name, *figures, *beside])
    return rows


def proofs() -> str:
    """What it costs to know that a file is whole."""
    samples: dict[str, tuple[Kind, bytes]] = {
        "PNG of noise, 100 kB": ("image", picture(100_000)),
        "PNG of noise, 1 MB": ("image", picture(1_000_000)),
        "MP4 of noise, 1280x720, 1 s": ("video", video(1, 1280, 720)),
    }
    rows = []
    for name, (kind, data) in samples.items():
        hashing = _cpu_ms(partial(hashlib.sha256, data))
        deciding = _cpu_ms(partial(verify, data, kind, None, CopyMemory()))
        rows.append([name, f"{len(data) / 1e6:.2f}", f"{hashing:.2f}", f"{deciding:.2f}"])
    return table.markdown(("file", "MB", "SHA-256, CPU ms", "whole and decoded, CPU ms"), rows)


def _cpu_ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        began = time.process_time()
        call()
        times.append(1_000 * (time.process_time() - began))
    return statistics.median(times)


def memory(source_url: str) -> str:
    """How much memory copies take, in processes of their own."""
    rows = []
    for size_bytes, files, limit_bytes in MEMORY_RUNS:
        rows.append(_memory_row(source_url, size_bytes, files, limit_bytes))
    return table.markdown(("MB a file", "files, 8 at once", "setting, MiB", "grew by, MiB"), rows)


def _memory_row(source_url: str, size_bytes: int, files: int, limit_bytes: int) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.copy", "--grow", source_url, str(size_bytes), str(files)]
    grown = subprocess.run([*command, str(limit_bytes)], check=True, capture_output=True, text=True).stdout
    return [f"{size_bytes / 1e6:,.0f}", str(files), str(limit_bytes // MIB), grown.strip()]


async def _grow(source_url: str, size_bytes: int, files: int, limit_bytes: int) -> float:
    """By how many MiB this process grows beyond what a first small copy took, pages of files not counted."""
    peak, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.01):
            peak[0] = max(peak[0], _anonymous_mib())

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(12) as threads:
        async with AssetClient(allow_loopback=True) as client:
            before = 0.0
            for size, count in ((100_000, 1), (2 * MIB, 1), (size_bytes, files)):
                scene = Scene(source_url, size, f"{folder}/{size}", Path(folder), threads)
                engine = _Unrecorded(scene, client, Spool(Path(folder) / "spool", memory_bytes=limit_bytes))
                before = _anonymous_mib()
                watcher = threading.Thread(target=watch)
                watcher.start()
                numbers = iter(range(count))

                async def work(engine: _Unrecorded = engine, numbers: Iterator[int] = numbers) -> None:
                    for number in numbers:
                        await copy.store(cast(Engine, engine), _work(engine.scene, number))
                        shutil.rmtree(Path(engine.scene.target) / "things" / f"job-{number}")

                try:
                    await asyncio.gather(*(work() for _ in range(COPY_SLOTS)))
                finally:
                    is_over.set()
                    watcher.join()
                is_over.clear()
    return peak[0] - before


def _anonymous_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("not Linux")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--to", default="folder,s3")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("speed", "proofs", "memory"))
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--grow", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.grow:
        print(f"{asyncio.run(_grow(arguments.grow[0], *map(int, arguments.grow[1:]))):.0f}")
        return
    with source() as url:
        cases = itertools.product(arguments.to.split(","), arguments.sizes.split(","))
        tables = {
            "speed": lambda: speed(url, cases, arguments.at_once, arguments.rounds),
            "proofs": proofs,
            "memory": lambda: memory(url),
        }
        for name in [arguments.only] if arguments.only else tables:
            text = tables[name]()
            print(text, end="\n\n")
            if arguments.write:
                table.write(f"copy-{name}", text)


if __name__ == "__main__":
    main()
