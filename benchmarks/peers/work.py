"""What every peer is told, and the sink that they share: a folder."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Job = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done. `cap` is how many jobs may be at the provider at once."""

    provider: str
    jobs_file: Path
    folder: Path
    cap: int
    #: What the provider will ask for, for those who have to know it beforehand.
    poll_after_seconds: float
    database: str
    redis: str

    @property
    def submit_url(self) -> str:
        return f"{self.provider}/v1/generation-requests?wait=false"

    def poll_url(self, request_id: str) -> str:
        return f"{self.provider}/v1/generation-requests/{request_id}"

    def jobs(self) -> list[Job]:
        """Each with an `id` and the provider's `item`."""
        return [json.loads(line) for line in self.jobs_file.read_text().splitlines()]

    def store(self, job: str, body: bytes) -> None:
        """Writes a result. Nothing waits for the disk: that is the peers' advantage."""
        (self.folder / f"{job}.png").write_bytes(body)


def read_work() -> Work:
    """The work of this process."""
    told = os.environ
    return Work(
        provider=told["BENCH_PROVIDER"],
        jobs_file=Path(told["BENCH_JOBS"]),
        folder=Path(told["BENCH_FOLDER"]),
        cap=int(told["BENCH_CAP"]),
        poll_after_seconds=float(told["BENCH_POLL_AFTER"]),
        database=told.get("BENCH_DATABASE", ""),
        redis=told.get("BENCH_REDIS", ""),
    )


HEADERS = {"X-API-Key": "key", "X-API-Secret": "secret"}


def is_done(answer: dict[str, Any]) -> bool:
    """Whether a request needs no further poll."""
    return answer["status"] in ("completed", "partial_failure", "failed")


def asset_url(answer: dict[str, Any]) -> str:
    """Where the full-quality file of a one-job request is."""
    asset = answer["responses"][0]["output_assets"][0]
    return str(asset["original_data_url"])


def wait_seconds(answer: dict[str, Any]) -> float:
    """As long as the provider asks."""
    return float(answer["poll_after_seconds"] or 0)
