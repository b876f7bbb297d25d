"""DBOS Transact: a workflow for each job on a queue, a step for each call. Run again after a crash, it goes on."""

import asyncio
from typing import Any

import aiohttp
from dbos import DBOS, SetWorkflowID

from benchmarks.peers.work import HEADERS, Job, asset_url, is_done, read_work, wait_seconds

WORK = read_work()
DBOS(config={"name": "peer", "system_database_url": WORK.database, "application_version": "1"})
SESSIONS: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}


def session() -> aiohttp.ClientSession:
    """The session of the event loop that runs."""
    loop = asyncio.get_running_loop()
    if loop not in SESSIONS:
        SESSIONS[loop] = aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=WORK.cap))
    return SESSIONS[loop]


@DBOS.step()
async def submit(item: dict[str, Any]) -> dict[str, Any]:
    async with session().post(WORK.submit_url, json={"requests": [item]}) as response:
        return dict(await response.json())


@DBOS.step()
async def poll(request_id: str) -> dict[str, Any]:
    async with session().get(WORK.poll_url(request_id)) as response:
        return dict(await response.json())


@DBOS.step()
async def transfer(job: str, url: str) -> None:
    async with session().get(url) as response:
        WORK.store(job, await response.read())


@DBOS.workflow()
async def generate(job: Job) -> None:
    answer = await submit(job["item"])
    while not is_done(answer):
        await DBOS.sleep_async(wait_seconds(answer))
        answer = await poll(answer["request_id"])
    await transfer(job["id"], asset_url(answer))


async def main() -> None:
    DBOS.launch()
    await DBOS.register_queue_async("jobs", worker_concurrency=WORK.cap, polling_interval_sec=0.1)
    handles = []
    for job in WORK.jobs():
        with SetWorkflowID(job["id"]):
            handles.append(await DBOS.enqueue_workflow_async("jobs", generate, job))
    for handle in handles:
        await handle.get_result()
    for used in SESSIONS.values():
        await used.close()
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
