"""The origin that assets are downloaded from."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from orchestrator.sandbox.answers import mime_type
from orchestrator.sandbox.asset_urls import RENDITIONS, Rendition, rendition_format
from orchestrator.sandbox.faults import FaultRule
from orchestrator.sandbox.flow import job_status
from orchestrator.sandbox.misbehave import befall, corrupted, html_page, part_sent
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.records import Job
from orchestrator.sandbox.render import render

Draw = Callable[[Job, Rendition], bytes]


class AssetSite:
    """The one handler of the asset origin; `routes` lists it. `draw` makes the bytes of a rendition."""

    def __init__(self, provider: Provider, draw: Draw = render) -> None:
        self._provider = provider
        self._draw = draw

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/{rendition}/{name}", self.download)]

    async def download(self, request: web.Request) -> web.Response:
        """The bytes of a rendition, while its URL has not expired."""
        self._provider.counters.asset_downloads += 1
        fault = self._provider.faults.strike("asset", request.path)
        if fault is not None:
            await befall(fault, request, self._provider.clock())
        rendition, job = self._find(request)
        body = await asyncio.to_thread(self._draw, job, rendition)
        content_type = mime_type(rendition_format(job, rendition))
        if fault is not None:
            body = _damaged(fault, request, body, content_type)
        return web.Response(body=body, content_type=content_type)

    def _find(self, request: web.Request) -> tuple[Rendition, Job]:
        signature, expires = request.query.get("Signature", ""), request.query.get("Expires", "")
        if not self._provider.urls.is_signed(request.path, expires, signature):
            raise Problem(403, "access_denied", "sandbox: the signature does not match")
        rendition = next(name for name in RENDITIONS if name == request.match_info["rendition"])
        job = self._provider.book.job(request.match_info["name"].partition(".")[0])
        now = self._provider.clock()
        if job is None or job_status(job, now) != "completed":
            raise Problem(404, "not_found", "sandbox: no such asset")
        if now >= job.expires_at:
            raise Problem(403, "expired", "sandbox: this URL has expired")
        return rendition, job


def _damaged(fault: FaultRule, request: web.Request, body: bytes, content_type: str) -> bytes:
    match fault.kind:
        case "truncated" | "truncated-no-length":
            raise part_sent(request, body, content_type, length=fault.kind == "truncated")
        case "html":
            raise html_page(200)
        case "expired":
            raise Problem(403, "expired", "sandbox: this URL has expired")
        case "corrupt":
            return corrupted(body)
        case "empty":
            return b""
    return body
