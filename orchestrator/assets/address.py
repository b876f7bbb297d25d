"""Where an asset may be fetched from: https only, and never a private address."""

import socket
import string
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

from aiohttp import AddrInfoType
from yarl import URL

from orchestrator.assets.errors import AddressRefused
from orchestrator.base.urls import is_loopback

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached
_IPV6_UNICAST = IPv6Network("2000::/3")  # RFC 4291: outside of it all is local, reserved or multicast


def without_query(url: str) -> str:
    """The URL as it may be shown: no query string (signatures live there), no fragment, no user name."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


def check_url(url: str, *, allow_loopback: bool) -> URL:
    """The URL to request, spelled exactly as it was given: signatures cover the spelling.

    Raises AddressRefused unless it is https to a host that is a name or a public address. With
    `allow_loopback` (the provider itself is on this machine) http and https to this machine pass too.
    """
    try:
        checked = URL(quote(url, safe=string.punctuation), encoded=True)
        host, port = (checked.raw_host or "").lower().rstrip("."), checked.port
    except ValueError:
        raise AddressRefused("the asset's URL cannot be read") from None
    if not host or not host.isascii() or "%" in host or not port:
        raise AddressRefused("the asset's URL has no usable host")
    if checked.raw_user is not None or checked.raw_password is not None:
        raise AddressRefused(f"{without_query(url)}: the asset's URL carries a user name")
    local = allow_loopback and is_loopback(host)
    if checked.scheme != "https" and not (local and checked.scheme == "http"):
        raise AddressRefused(f"{without_query(url)}: the asset's URL is not https")
    literal = _literal_address(host)
    if not local and (is_loopback(host) or (literal and not is_allowed(literal, allow_loopback=False))):
        raise AddressRefused(f"{without_query(url)}: the asset's URL leads to a private address")
    return checked


def is_allowed(address: str, *, allow_loopback: bool) -> bool:
    """Whether a literal IP address is public unicast, or this machine where that is allowed."""
    ip = _embedded_ipv4(ip_address(address))
    if ip.is_loopback:
        return allow_loopback
    if isinstance(ip, IPv6Address) and ip not in _IPV6_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast


def _embedded_ipv4(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for (mapped, NAT64, 6to4, Teredo), else the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


def _literal_address(host: str) -> str | None:
    """The address a literal means, decimal, octal and short forms (`2130706433`, `127.1`) included."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


class RefusedConnection(OSError):
    """Raised by a guarded socket factory; one message for all, so that several of them stay one error."""

    def __init__(self) -> None:
        super().__init__("this address is not allowed")


def open_socket(info: AddrInfoType, *, allow_loopback: bool) -> socket.socket:
    """A socket for the very address that is about to be connected to; RefusedConnection if it is private.

    Checking here, not when the name is resolved, leaves no moment in which the address could change.
    """
    family, kind, protocol, _, address = info
    if not is_allowed(str(address[0]), allow_loopback=allow_loopback):
        raise RefusedConnection
    return socket.socket(family, kind, protocol)
