"""The payer of an API key: whose account it is may be shown, what opens it may not."""

import pytest

from orchestrator.base.errors import Unusable
from orchestrator.base.settings import Settings, load_settings
from orchestrator.payments.credits import credits_payer, payer_of


@pytest.fixture
def settings(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(str(tmp_path))
    return load_settings()


def test_headers_are_the_guides_and_secret() -> None:
    payer = payer_of("key", "s3cret")
    assert payer.headers == {"X-API-Key": "key", "X-API-Secret": "s3cret"}
    assert "s3cret" not in repr(payer)
    assert "key" not in payer.account


def test_an_account_is_its_key_whatever_the_secret() -> None:
    assert payer_of("key", "old").account == payer_of("key", "new").account
    assert payer_of("key", "old").account != payer_of("other", "old").account


@pytest.mark.parametrize(
    ("key", "secret", "named"),
    [
        (None, None, "KATANA_API_KEY and KATANA_API_SECRET"),
        ("k", None, "KATANA_API_SECRET"),
        (None, "s", "KATANA_API_KEY"),
        ("", "s", "KATANA_API_KEY"),
    ],
)
def test_missing_credentials_are_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, key: str | None, secret: str | None, named: str
) -> None:
    for name, value in (("KATANA_API_KEY", key), ("KATANA_API_SECRET", secret)):
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(Unusable, match=f"{named} not set"):
        credits_payer(load_settings())


@pytest.mark.parametrize("secret", ["line\nbreak", "caf\u00e9", "nul\0"])
def test_what_no_header_can_carry_is_refused_without_being_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    with pytest.raises(Unusable) as caught:
        credits_payer(load_settings(katana_api_key="k", katana_api_secret=secret))
    assert secret not in str(caught.value)
