"""The HTTP client for asset URLs: guarded addresses, redirects by hand, nobody's credentials.

It is plain aiohttp. Through httpx the URL would be requoted (`%2F` in a signed query becomes `/`), and
`trust_env` would send passwords from `~/.netrc` to whoever serves an asset; so neither is used, and the
proxies of the environment are looked up by `base.proxies`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urljoin

import httpx
from aiohttp import (
    ClientConnectorError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from orchestrator.assets.address import RefusedConnection, check_url, open_socket, without_query
from orchestrator.assets.errors import AddressRefused, SourceUnavailable
from orchestrator.base.proxies import credentials_apart, proxy_for

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "katana-orchestrator"}
_LONGEST_HEADER_BYTES = 64 * 1024
_TIMEOUT = ClientTimeout(total=None, connect=30, sock_connect=10, sock_read=60)


class AssetBody(Protocol):
    """A body that is still to be read."""

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Its bytes as they come, in pieces of at most `n`. Raises aiohttp's ClientError where it breaks off."""
        ...


class AssetResponse(Protocol):
    """The answer to a GET: what of aiohttp's `ClientResponse` a download needs."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> AssetBody: ...


class AssetSource(Protocol):
    """Where files are fetched from: the network, or what stands in for it."""

    def get(self, url: str) -> AbstractAsyncContextManager[AssetResponse]:
        """See `AssetClient.get`."""
        ...


class AssetClient:
    """Opens asset URLs. Use as `async with`, one per event loop; it may serve many fetches at once.

    `allow_loopback` lets URLs lead to this machine: only right when the provider itself is there.
    """

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        #: By scheme and host: the whole environment is read for each answer.
        self._proxy_of: dict[tuple[str, str | None], str | None] = {}

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(httpx.create_ssl_context)
        guard = partial(open_socket, allow_loopback=self._allow_loopback)
        self._direct = _session(TCPConnector(ssl=tls, socket_factory=guard))
        # Connects to the proxy alone, which may well have a private address and resolves names itself.
        self._proxied = _session(TCPConnector(ssl=tls))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._direct.close()
        await self._proxied.close()

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[ClientResponse]:
        """The answer to a GET after at most 5 redirects, whatever its status, its body still to be read.

        Raises AddressRefused; SourceUnavailable for redirects that lead nowhere; aiohttp's ClientError
        and TimeoutError for the network. aiohttp's errors may hold the whole URL: do not show them.
        """
        for _ in range(MAX_REDIRECTS + 1):
            async with await self._request(url) as response:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or target is None:
                    yield response
                    return
            url = _redirected(url, target)
        raise SourceUnavailable(f"{without_query(url)}: more than {MAX_REDIRECTS} redirects")

    async def _request(self, url: str) -> ClientResponse:
        checked = check_url(url, allow_loopback=self._allow_loopback)
        named = self._proxy_for(checked)
        try:
            if named is None:
                return await self._direct.get(checked, allow_redirects=False)
            proxy, credentials = credentials_apart(named)
            return await self._proxied.get(checked, allow_redirects=False, proxy=proxy, proxy_headers=credentials)
        except ClientConnectorError as error:
            if isinstance(error.os_error, RefusedConnection):
                raise AddressRefused(f"{without_query(url)}: leads to a private address") from None
            raise

    def _proxy_for(self, url: URL) -> str | None:
        origin = url.scheme, url.raw_host
        if origin not in self._proxy_of:
            self._proxy_of[origin] = proxy_for(str(url))
        return self._proxy_of[origin]


def _session(connector: TCPConnector) -> ClientSession:
    return ClientSession(
        connector=connector,
        headers=_HEADERS,
        timeout=_TIMEOUT,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_LONGEST_HEADER_BYTES,
        max_field_size=_LONGEST_HEADER_BYTES,
    )


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
    except ValueError:
        raise SourceUnavailable(f"{without_query(url)}: redirects to an unreadable address") from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise AddressRefused(f"{without_query(url)}: redirects from https to something else")
    return target
