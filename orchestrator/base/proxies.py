"""The HTTP proxies that the environment names, found as curl and requests find them."""

from urllib.parse import urlsplit
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
