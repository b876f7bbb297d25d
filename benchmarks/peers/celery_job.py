"""Celery, one task for each job, which sleeps between its polls."""

import time

from benchmarks.peers.celery_app import make_app
from benchmarks.peers.session import shared_session
from benchmarks.peers.work import Job, asset_url, is_done, read_work, wait_seconds

WORK = read_work()
SESSION = shared_session(WORK)
app = make_app(WORK)


@app.task
def generate(job: Job) -> None:
    answer = SESSION.post(WORK.submit_url, json={"requests": [job["item"]]}, timeout=60).json()
    while not is_done(answer):
        time.sleep(wait_seconds(answer))
        answer = SESSION.get(WORK.poll_url(answer["request_id"]), timeout=60).json()
    WORK.store(job["id"], SESSION.get(asset_url(answer), timeout=60).content)


def send() -> None:
    for job in WORK.jobs():
        generate.delay(job)
