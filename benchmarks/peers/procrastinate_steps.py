"""procrastinate: a task for each step, a poll that comes too early tried again by a retry strategy.

Jobs of a killed worker are retried by the periodic task of its documentation, but every ten seconds in place of ten
minutes.
"""

import asyncio
from typing import Any

import aiohttp
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job as QueuedJob

from benchmarks.peers.work import HEADERS, Job, asset_url, is_done, read_work, wait_seconds

WORK = read_work()
app = App(connector=PsycopgConnector(conninfo=WORK.database))
SESSIONS: list[aiohttp.ClientSession] = []


def session() -> aiohttp.ClientSession:
    if not SESSIONS:
        SESSIONS.append(aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=WORK.cap)))
    return SESSIONS[0]


class NotYet(Exception):
    """The provider asks to be polled again in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class WhenAsked(BaseRetryStrategy):
    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision | None:
        return (
            RetryDecision(retry_in={"milliseconds": 1_000 * exception.seconds})
            if isinstance(exception, NotYet)
            else None
        )


@app.task
async def submit(job: Job) -> None:
    async with session().post(WORK.submit_url, json={"requests": [job["item"]]}) as response:
        answer = await response.json()
    later = poll.configure(schedule_in={"milliseconds": 1_000 * wait_seconds(answer)})
    await later.defer_async(job=job, request_id=answer["request_id"])


@app.task(retry=WhenAsked())
async def poll(job: Job, request_id: str) -> None:
    async with session().get(WORK.poll_url(request_id)) as response:
        answer: dict[str, Any] = await response.json()
    if not is_done(answer):
        raise NotYet(wait_seconds(answer))
    await transfer.defer_async(job=job, url=asset_url(answer))


@app.task
async def transfer(job: Job, url: str) -> None:
    async with session().get(url) as response:
        WORK.store(job["id"], await response.read())


@app.periodic(cron="* * * * * */10")
@app.task(queueing_lock="retry_stalled_jobs", pass_context=True)
async def retry_stalled_jobs(context: JobContext, timestamp: int) -> None:
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)


async def defer_all() -> None:
    async with app.open_async():
        await submit.batch_defer_async(*({"job": job} for job in WORK.jobs()))


def send() -> None:
    asyncio.run(defer_all())
