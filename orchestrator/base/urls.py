"""URLs and addresses: what they consist of, and whether they lead to this machine only."""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host name or literal address means this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Whether a URL leads to this machine only."""
    return is_loopback(urlsplit(url).hostname or "")


def split_address(address: str) -> tuple[str, int]:
    """Host and port of a `host:port`, where an IPv6 host stands in brackets. Raises ValueError for anything else."""
    parts = url_parts(f"//{address}")
    if parts is None or not parts.hostname or parts.port is None or parts.path or parts.username is not None:
        raise ValueError("must be host:port, such as 127.0.0.1:9464 (0.0.0.0: all who reach this machine)")
    return parts.hostname, parts.port


def url_parts(url: str) -> SplitResult | None:
    """The parts of a URL, or None of what is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a bad one
    except ValueError:
        return None
    return parts
