"""Which URLs may be opened, and which addresses may be connected to."""

import pytest

from orchestrator.assets.address import check_url, is_allowed, without_query
from orchestrator.assets.errors import AddressRefused

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:a00:1::",
    "::10.0.0.1",
]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
PUBLIC = ["93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_never_allowed(address: str) -> None:
    assert not is_allowed(address, allow_loopback=False)
    assert not is_allowed(address, allow_loopback=True)


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine_is_allowed_only_on_request(address: str) -> None:
    assert not is_allowed(address, allow_loopback=False)
    assert is_allowed(address, allow_loopback=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address, allow_loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://k.example.com/a.png",
        "ftp://k.example.com/a.png",
        "file:///etc/passwd",
        "//k.example.com/a.png",
        "https:///a.png",
        "k.example.com/a.png",
        "",
        "https://user:word@k.example.com/a.png",
        "https://k.example.com:99999/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://x.localhost/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://k.example.com\\@127.0.0.1/",
        "https://k.example.com /",
        "https://k\u2024example.com/",
    ],
)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, allow_loopback=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/a", "http://localhost/a", "https://[::1]/a", "http://[::1]/a"])
def test_this_machine_may_be_asked_over_http_when_the_provider_is_there(url: str) -> None:
    assert str(check_url(url, allow_loopback=True)) == url


@pytest.mark.parametrize("url", ["http://k.example.com/a", "http://10.0.0.1/a", "https://192.168.0.1/a"])
def test_a_local_provider_opens_no_other_doors(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, allow_loopback=True)


def test_a_signed_url_keeps_its_spelling() -> None:
    url = "https://k.example.com/a%2Fb/%41?X-Amz-Credential=A%2F2026%2Fs3&sig=ab%2Bc%3D%7e+d&e=%C3%a9"
    assert str(check_url(url, allow_loopback=False)) == url


def test_what_is_shown_of_a_url_holds_no_secret() -> None:
    url = "https://user:word@k.example.com:8443/a.png?sig=secret#fragment"
    assert without_query(url) == "https://k.example.com:8443/a.png"
    assert without_query("https://[::1]:80/a?b") == "https://[::1]:80/a"
    assert without_query("https://[broken?sig=secret") == "(unreadable URL)"


@pytest.mark.parametrize("url", ["http://u:secret@k.example.com/?secret", "https://u:secret@k.example.com/?secret"])
def test_a_refusal_holds_no_secret(url: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        check_url(url, allow_loopback=False)
    assert "secret" not in str(caught.value)
