"""Celery, a task for each step, a poll that comes too early tried again with `retry(countdown=)`."""

from typing import Any

from celery import Task

from benchmarks.peers.celery_app import make_app
from benchmarks.peers.session import shared_session
from benchmarks.peers.work import Job, asset_url, is_done, read_work, wait_seconds

WORK = read_work()
SESSION = shared_session(WORK)
app = make_app(WORK)


@app.task
def submit(job: Job) -> None:
    answer = SESSION.post(WORK.submit_url, json={"requests": [job["item"]]}, timeout=60).json()
    poll.apply_async((job, answer["request_id"]), countdown=wait_seconds(answer))


@app.task(bind=True, max_retries=None)
def poll(self: Task, job: Job, request_id: str) -> None:
    answer: dict[str, Any] = SESSION.get(WORK.poll_url(request_id), timeout=60).json()
    if not is_done(answer):
        raise self.retry(countdown=wait_seconds(answer))
    transfer.delay(job, asset_url(answer))


@app.task
def transfer(job: Job, url: str) -> None:
    WORK.store(job["id"], SESSION.get(url, timeout=60).content)


def send() -> None:
    for job in WORK.jobs():
        submit.delay(job)
