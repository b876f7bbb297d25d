"""What becomes of the signal handlers of a program that works batches in its own process."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from orchestrator.base.errors import Interrupted
from orchestrator.operations.running import Duty, run_duties
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import make_site


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP])
def test_a_host_has_its_own_handlers_again_after_a_stop(
    tmp_path: Path, database: Database, database_url: str, asked: signal.Signals
) -> None:
    heard: list[int] = []

    def stop(sandbox: Sandbox) -> None:
        while not sandbox.charges():
            time.sleep(0.01)
        os.kill(os.getpid(), asked)

    usual = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in (1, 15)}
    try:
        with Sandbox(tmp_path / "sandbox", time_scale=100) as sandbox:
            site = make_site(tmp_path, sandbox, database, database_url)
            duty = Duty(site.provider, site.make_batch(1))
            threading.Thread(target=stop, args=[sandbox]).start()
            with pytest.raises(Interrupted):
                run_duties(site.settings, database, [duty])
        assert heard == []
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGHUP, signal.SIGTERM]
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
