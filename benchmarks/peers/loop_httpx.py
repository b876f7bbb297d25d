"""A bare asyncio loop with httpx that keeps nothing."""

import asyncio

import httpx

from benchmarks.peers.work import HEADERS, Job, asset_url, is_done, read_work, wait_seconds

WORK = read_work()


async def run_job(client: httpx.AsyncClient, slots: asyncio.Semaphore, job: Job) -> None:
    async with slots:
        answer = (await client.post(WORK.submit_url, json={"requests": [job["item"]]})).json()
        while not is_done(answer):
            await asyncio.sleep(wait_seconds(answer))
            answer = (await client.get(WORK.poll_url(answer["request_id"]))).json()
        WORK.store(job["id"], (await client.get(asset_url(answer))).content)


async def main() -> None:
    slots = asyncio.Semaphore(WORK.cap)
    limits = httpx.Limits(max_connections=WORK.cap, max_keepalive_connections=WORK.cap)
    async with httpx.AsyncClient(headers=HEADERS, limits=limits, timeout=60) as client:
        await asyncio.gather(*(run_job(client, slots, job) for job in WORK.jobs()))


if __name__ == "__main__":
    asyncio.run(main())
