"""The HTTP proxies that the environment names, found as curl and requests find them."""

from base64 import b64encode
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from orchestrator.base.urls import is_loopback


def proxy_for(url: str) -> str | None:
    """The proxy's URL for a request to `url`, or None: never for this machine, nor where NO_PROXY says so."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = getproxies().get(parts.scheme)
    if proxy is None or is_loopback(host) or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def credentials_apart(proxy: str) -> tuple[str, dict[str, str] | None]:
    """A proxy's URL without user and password, and the header that says them, where it has any."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return proxy, None
    told = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, {"Proxy-Authorization": f"Basic {b64encode(told.encode()).decode()}"}
