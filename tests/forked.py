"""Commands in real processes of their own, forked from a server that has everything imported: they start in no time.

What such a process shares with no other: its environment, its folder, its standard streams and its exit code.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: What the server imports before it forks; none of it starts a thread. Half of it is what a command would else import
#: at first use, each time anew. Not `workers`: its stop flag is memory that forks share.
PRELOADED = [
    __name__,
    "orchestrator.cli",
    "orchestrator.operations.looking",
    "orchestrator.operations.resuming",
    "orchestrator.operations.submitting",
    "orchestrator.assets.s3",
    "anyio._backends._asyncio",
    "av.subtitles.stream",
    "httpcore._async.http11",
    "httpcore._backends.auto",
    "PIL.JpegImagePlugin",
    "celery.__main__",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.worker.worker",
    "kombu.transport.redis",
]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(PRELOADED)


class Output(NamedTuple):
    """What a command left behind; both streams as they were written."""

    code: int
    stdout: str
    stderr: str


def run(arguments: tuple[str, ...], *, environment: Mapping[str, str], folder: Path, timeout_seconds: float) -> Output:
    """`orchestrator ARGUMENTS`, to its end. Raises TimeoutError after killing one that takes too long."""
    with tempfile.TemporaryDirectory(prefix="ko-output-") as kept:
        streams = Path(kept, "stdout"), Path(kept, "stderr")
        process = _FORKS.Process(target=_live, args=(arguments, dict(environment), folder, *streams))
        process.start()
        process.join(timeout_seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"orchestrator {' '.join(arguments)} took over {timeout_seconds:.0f} s")
        code = process.exitcode
        process.close()
        assert code is not None
        return Output(code, *(stream.read_text(encoding="utf-8") for stream in streams))


def _live(arguments: tuple[str, ...], environment: dict[str, str], folder: Path, stdout: Path, stderr: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in ((0, Path(os.devnull)), (1, stdout), (2, stderr)):
        opened = os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["orchestrator", *arguments]
    runpy.run_module("orchestrator", run_name="__main__")
