"""Credentials and the accounts behind them."""

import pytest

from orchestrator.sandbox.accounts import Accounts, BadCredentials, account_name

HEADERS = {"X-API-Key": "key", "X-API-Secret": "secret"}
BEARER = {"Authorization": "Bearer key:secret"}


def test_both_spellings_open_the_same_account_and_its_name_tells_no_secret() -> None:
    assert Accounts().identify(HEADERS) == Accounts().identify(BEARER) == account_name("key", "secret")
    name = account_name("key", "secret")
    assert name.startswith("sandbox-")
    assert "key" not in name
    assert "secret" not in name


def test_a_call_without_credentials_is_nobody() -> None:
    assert Accounts().identify({}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "key"},
        {"X-API-Key": "key", "X-API-Secret": ""},
        {"Authorization": "Bearer key"},
        {"Authorization": "Basic a2V5OnNlY3JldA=="},
    ],
)
def test_half_a_credential_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadCredentials):
        Accounts().identify(headers)


def test_configured_accounts_shut_out_others() -> None:
    accounts = Accounts({"key": "secret"})
    assert accounts.identify(HEADERS) == account_name("key", "secret")
    for headers in ({**HEADERS, "X-API-Secret": "wrong"}, {**HEADERS, "X-API-Key": "other"}):
        with pytest.raises(BadCredentials):
            accounts.identify(headers)
