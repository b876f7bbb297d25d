"""TLS that cannot be trusted: nothing is sent to it, so nothing can have been charged."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.verdict import Kind

OK = b'{"request_id":"r-1","status":"queued"}'
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider.test")])


def write_certificate(folder: Path, *, days_left: int, address: str = "127.0.0.1") -> Path:
    """A self-signed certificate with its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days_left))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + private)
    return file


class Listener:
    """Answers every request over TLS, and keeps what it was sent and which protocol was agreed on."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.protocols: list[str | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        self.received.append(await reader.read(1 << 16))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(OK) + OK)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(certificate: Path) -> AsyncIterator[tuple[Listener, str]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield listener, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("days_left", "address", "is_known"),
    [(-1, "127.0.0.1", True), (30, "127.0.0.1", False), (30, "127.0.0.2", True)],
    ids=["expired", "of nobody we know", "of another host"],
)
async def test_what_cannot_be_trusted_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days_left: int, address: str, is_known: bool
) -> None:
    certificate = write_certificate(tmp_path, days_left=days_left, address=address)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with listening(certificate) as (listener, url), KatanaClient(url, {"X-API-Secret": "s3cret"}) as client:
        verdict = await client.submit(b'{"requests":[]}')
        with pytest.raises(ProviderUnavailable):
            await client.poll("r-1")
    assert (verdict.kind, verdict.reason) == (Kind.NOT_SENT, "cannot connect")
    assert listener.received == []


async def test_a_trusted_server_is_spoken_to_in_http_1_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request a connection: there is no GOAWAY that could leave several paid requests in doubt at once."""
    certificate = write_certificate(tmp_path, days_left=30)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with listening(certificate) as (listener, url), KatanaClient(url, {}) as client:
        verdict = await client.submit(b'{"requests":[]}')
    assert verdict.kind is Kind.ACCEPTED
    assert listener.protocols == ["http/1.1"]
