"""JSON-RPC over HTTP. Nothing here shows a URL: an endpoint's key is often in its path."""

import asyncio
import itertools
import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx

from orchestrator.base.proxies import proxy_for

#: Whoever takes longer has not answered.
DEADLINE_SECONDS = 20.0
_LONGEST_ANSWER_BYTES = 8 * 1024 * 1024
_LONGEST_MESSAGE = 200
_SHORTEST_KEY = 8


class RpcUnavailable(Exception):
    """An endpoint did not answer, or not with what was asked for; `reason` is for people, and names its host alone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rpc:
    """One endpoint. `transport` carries everything in place of the network. Nothing is tried again."""

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport or httpx.AsyncHTTPTransport(
            verify=httpx.create_ssl_context(), proxy=proxy_for(url), trust_env=False
        )
        self._numbers = itertools.count(1)
        self.host = urlsplit(url).hostname or "?"

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a method; it may be None. Raises RpcUnavailable."""
        question = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                status, body = await self._post(json.dumps(question).encode())
        except TimeoutError:
            raise self._unavailable(method, f"no answer within {DEADLINE_SECONDS:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # Not the library's words: they may hold the URL.
            raise self._unavailable(method, f"the connection failed ({type(error).__name__})") from None
        return self._result(method, question["id"], status, body)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _post(self, content: bytes) -> tuple[int, bytes]:
        """Past httpx's client, which would write the whole URL into its log."""
        headers = {"Content-Type": "application/json", "User-Agent": "katana-orchestrator"}
        request = httpx.Request("POST", self._url, headers=headers, content=content)
        response = await self._transport.handle_async_request(request)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LONGEST_ANSWER_BYTES:
                    raise ValueError("the answer is absurdly long")
        finally:
            await response.aclose()
        return response.status_code, bytes(body)

    def _result(self, method: str, number: object, status: int, body: bytes) -> Any:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise self._unavailable(method, f"HTTP {status} without an answer to the question")
        if answer.get("error") is not None or "result" not in answer:
            raise self._unavailable(method, self._without_keys(_words_of(answer.get("error"))))
        return answer["result"]

    def _without_keys(self, words: str) -> str:
        """Some endpoints repeat in their refusal the key that they were called with."""
        parts = urlsplit(self._url)
        for part in re.split(r"[^A-Za-z0-9_-]+", f"{parts.username} {parts.password} {parts.path} {parts.query}"):
            words = words.replace(part, "***") if len(part) >= _SHORTEST_KEY else words
        return words

    def _unavailable(self, method: str, problem: str) -> RpcUnavailable:
        return RpcUnavailable(f"{self.host} did not answer {method}: {problem}")


def _words_of(error: object) -> str:
    """An endpoint's own words about its refusal."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        words = " ".join(error["message"].split())[:_LONGEST_MESSAGE]
        return f"{words} ({error['code']})" if isinstance(error.get("code"), int) else words
    return "an error without words"
