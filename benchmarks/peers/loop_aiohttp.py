"""A bare asyncio loop with aiohttp that keeps nothing: the limit."""

import asyncio

import aiohttp

from benchmarks.peers.work import HEADERS, Job, asset_url, is_done, read_work, wait_seconds

WORK = read_work()


async def run_job(session: aiohttp.ClientSession, slots: asyncio.Semaphore, job: Job) -> None:
    async with slots:
        async with session.post(WORK.submit_url, json={"requests": [job["item"]]}) as response:
            answer = await response.json()
        while not is_done(answer):
            await asyncio.sleep(wait_seconds(answer))
            async with session.get(WORK.poll_url(answer["request_id"])) as response:
                answer = await response.json()
        async with session.get(asset_url(answer)) as response:
            WORK.store(job["id"], await response.read())


async def main() -> None:
    slots = asyncio.Semaphore(WORK.cap)
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=WORK.cap)) as session:
        await asyncio.gather(*(run_job(session, slots, job) for job in WORK.jobs()))


if __name__ == "__main__":
    asyncio.run(main())
