"""Prefect: a flow of mapped tasks, each result kept by its inputs, so that the flow run again does not repeat it."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.task_runners import ThreadPoolTaskRunner

from benchmarks.peers.session import shared_session
from benchmarks.peers.work import Job, asset_url, is_done, read_work

WORK = read_work()
SESSION = shared_session(WORK)


@task(persist_result=True, cache_policy=INPUTS)
def submit(job: Job) -> dict[str, Any]:
    return dict(SESSION.post(WORK.submit_url, json={"requests": [job["item"]]}, timeout=60).json())


@task(persist_result=True, cache_policy=INPUTS, retries=10_000, retry_delay_seconds=WORK.poll_after_seconds)
def poll(accepted: dict[str, Any]) -> str:
    answer = SESSION.get(WORK.poll_url(accepted["request_id"]), timeout=60).json()
    if not is_done(answer):
        raise RuntimeError("not yet")
    return asset_url(answer)


@task(persist_result=True, cache_policy=INPUTS)
def transfer(job: Job, url: str) -> str:
    WORK.store(job["id"], SESSION.get(url, timeout=60).content)
    return url


@flow(task_runner=ThreadPoolTaskRunner(max_workers=WORK.cap))
def batch() -> None:
    jobs = WORK.jobs()
    transfer.map(jobs, poll.map(submit.map(jobs))).wait()


if __name__ == "__main__":
    batch()
