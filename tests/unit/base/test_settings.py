"""Where a setting comes from, and which ones are refused. The working directory holds no `.env` but a test's own."""

import getpass
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestrator.base.errors import Unusable
from orchestrator.base.settings import PRODUCTION_URL, load_settings
from orchestrator.base.urls import is_loopback_url


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dotenv(*lines: str) -> None:
    Path(".env").write_text("\n".join(lines), encoding="utf-8")


def secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def test_defaults() -> None:
    settings = load_settings()
    assert settings.katana_base_url == PRODUCTION_URL
    assert settings.katana_api_key is None
    assert settings.usd_per_credit == Decimal("0.0052")
    assert (settings.max_in_flight, settings.request_lost_after, settings.stall_after) == (64, 900, 300)
    assert settings.destination == "./output"
    assert "@" in settings.actor


def test_flag_before_environment_before_file_before_dotenv_before_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv("KATANA_API_KEY=from-dotenv", "ORCHESTRATOR_DESTINATION=dotenv-out")
    assert secret(load_settings().katana_api_key) == "from-dotenv"
    (folder / "key").write_text("from-file\n")
    monkeypatch.setenv("KATANA_API_KEY_FILE", str(folder / "key"))
    assert secret(load_settings().katana_api_key) == "from-file"
    monkeypatch.setenv("KATANA_API_KEY", "from-environment")
    assert secret(load_settings().katana_api_key) == "from-environment"
    assert load_settings().destination == "dotenv-out"
    monkeypatch.setenv("ORCHESTRATOR_DESTINATION", "environment-out")
    assert load_settings().destination == "environment-out"
    assert load_settings(destination="flag-out").destination == "flag-out"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("KATANA_API_KEY", "katana_api_key"),
        ("KATANA_API_SECRET", "katana_api_secret"),
        ("ORCHESTRATOR_DATABASE_URL", "database_url"),
        ("ORCHESTRATOR_BROKER_URL", "broker_url"),
    ],
)
def test_every_secret_may_be_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, field: str) -> None:
    (folder / "secret").write_text("postgresql://u:p@h/db\n")
    monkeypatch.setenv(f"{name}_FILE", str(folder / "secret"))
    settings = load_settings()
    assert secret(getattr(settings, field)) == "postgresql://u:p@h/db"
    assert "u:p@h" not in repr(settings)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_secret_file_that_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    if content is not None:
        (folder / "key").write_bytes(content)
    monkeypatch.setenv("KATANA_API_KEY_FILE", str(folder / "key"))
    with pytest.raises(Unusable, match="KATANA_API_KEY_FILE"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    [
        "http://kat.imgnai.com", "http://localhost.evil.example", "http://localhost@evil.example", "http://127.0.0.1.nip.io",
        "ftp://127.0.0.1", "kat.imgnai.com", "https://", "https://user:password@kat.imgnai.com", "http://[::1",
        "https://kat.imgnai.com:99999", "https://kat.imgnai.com:port",
    ],
)  # fmt: skip
def test_refused_base_urls(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KATANA_BASE_URL", url)
    with pytest.raises(Unusable, match="KATANA_BASE_URL") as caught:
        load_settings()
    assert "password" not in str(caught.value).replace("user name or password", "")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:1/", "http://[::1]:1", "https://kat.example", "http://127.9.9.9"]
)
def test_good_base_urls(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KATANA_BASE_URL", url)
    assert load_settings().katana_base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORCHESTRATOR_MAX_IN_FLIGHT", "0"), ("ORCHESTRATOR_MAX_IN_FLIGHT", "many"), ("ORCHESTRATOR_STALL_AFTER", "-1"),
        ("ORCHESTRATOR_REQUEST_LOST_AFTER", "nan"), ("ORCHESTRATOR_USD_PER_CREDIT", "NaN"),
        ("ORCHESTRATOR_USD_PER_CREDIT", "-1"), ("ORCHESTRATOR_USD_PER_CREDIT", "Infinity"),
    ],
)  # fmt: skip
def test_refused_numbers_name_their_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Unusable, match=name):
        load_settings()


def test_a_checked_out_project_cannot_redirect_the_users_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("KATANA_BASE_URL=https://evil.example")
    load_settings()
    for name in ("KATANA_API_KEY", "KATANA_API_SECRET", "KATANA_API_KEY_FILE", "katana_api_key"):
        with monkeypatch.context() as patch:
            Path("file").write_text("x")
            patch.setenv(name, "file")
            with pytest.raises(Unusable, match=r"from \.env"):
                load_settings()


@pytest.mark.parametrize("name", ["BASE_RPC_URL", "ORCHESTRATOR_PAY_TO_BASE"])
def test_nor_whom_the_users_wallet_pays_nor_what_it_believes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    value = "https://evil.example" if name.endswith("URL") else "0xc523Ec7ca36DD277130b874Ae6776B97E074F6Be"
    dotenv(f"{name}={value}")
    load_settings()
    monkeypatch.setenv("SVM_PRIVATE_KEY", "k")
    load_settings()
    monkeypatch.setenv("EVM_PRIVATE_KEY", "k")
    with pytest.raises(Unusable, match=r"from \.env"):
        load_settings()
    monkeypatch.setenv(name, value)
    load_settings()


def test_half_of_the_credentials_from_elsewhere_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("KATANA_BASE_URL=https://other.example", "KATANA_API_KEY=k", "KATANA_API_SECRET=s")
    assert load_settings().katana_base_url == "https://other.example"
    monkeypatch.setenv("KATANA_API_SECRET", "the user's own")
    with pytest.raises(Unusable, match=r"from \.env"):
        load_settings()


def test_a_secret_file_named_by_dotenv_is_not_read(folder: Path) -> None:
    (folder / "private").write_text("the user's own")
    dotenv("KATANA_BASE_URL=https://evil.example", f"KATANA_API_KEY_FILE={folder / 'private'}")
    assert load_settings().katana_api_key is None


@pytest.mark.parametrize("where", ["environment", "flag", "production"])
def test_a_base_url_from_elsewhere_may_have_them(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("KATANA_API_KEY", "k")
    dotenv(f"KATANA_BASE_URL={PRODUCTION_URL if where == 'production' else 'https://evil.example'}")
    if where == "environment":
        monkeypatch.setenv("KATANA_BASE_URL", "https://good.example")
    overrides = {"katana_base_url": "https://good.example"} if where == "flag" else {}
    assert load_settings(**overrides).katana_base_url == (
        PRODUCTION_URL if where == "production" else "https://good.example"
    )


def test_home_is_absolute(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("ORCHESTRATOR_HOME", "state")
    assert load_settings().home == folder / "state"
    monkeypatch.setenv("ORCHESTRATOR_HOME", "~/state")
    assert load_settings().home == Path("~/state").expanduser()


def test_a_machine_without_a_user_name_still_has_an_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert load_settings().actor


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost/x", True),
        ("http://a.localhost", True),
        ("https://[::1]:9", True),
        ("https://kat.example", False),
        ("https://127.0.0.1.evil.example", False),
        ("nonsense", False),
    ],
)
def test_loopback_urls(url: str, expected: bool) -> None:
    assert is_loopback_url(url) is expected


@pytest.mark.parametrize("written", ["MDEyMzQ1Njc4OWFiY2RlZg==", "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="])
def test_a_webhook_secret_is_the_base64_of_its_key(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_SECRET", written)
    settings = load_settings()
    assert settings.webhook_key == b"0123456789abcdef"
    assert "MDEy" not in repr(settings)


@pytest.mark.parametrize("written", ["correct horse battery staple", "whsec_c2hvcnQ=", "schl\u00fcssel"])
def test_a_webhook_secret_that_nobody_could_check(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_SECRET", written)
    with pytest.raises(Unusable, match="ORCHESTRATOR_WEBHOOK_SECRET must be") as caught:
        load_settings()
    assert written not in str(caught.value)


def test_a_webhook_secret_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n")
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_SECRET_FILE", str(folder / "secret"))
    assert load_settings().webhook_key == b"0123456789abcdef"


@pytest.mark.parametrize("name", ["EVM_PRIVATE_KEY", "SVM_PRIVATE_KEY"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_wallets_key_in_a_file_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: int
) -> None:
    (folder / "key").write_text("0xkey\n")
    (folder / "key").chmod(mode)
    monkeypatch.setenv(f"{name}_FILE", str(folder / "key"))
    settings = load_settings()
    assert secret(getattr(settings, name.lower())) == "0xkey"
    assert "0xkey" not in repr(settings)


@pytest.mark.parametrize("name", ["EVM_PRIVATE_KEY", "SVM_PRIVATE_KEY"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o601, 0o604])
def test_a_wallets_key_that_others_may_read_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: int
) -> None:
    (folder / "key").write_text("0xkey\n")
    (folder / "key").chmod(mode)
    monkeypatch.setenv(f"{name}_FILE", str(folder / "key"))
    with pytest.raises(Unusable, match=f"{name}_FILE names a file that others .*mode {mode:o}") as caught:
        load_settings()
    assert "0xkey" not in str(caught.value)
    assert caught.value.hint == "chmod 600 that file"


@pytest.mark.parametrize("name", ["BASE_RPC_URL", "SOLANA_RPC_URL"])
def test_several_endpoints_of_a_chain(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    urls = "https://rpc.example/k3y, http://127.0.0.1:8545"
    monkeypatch.setenv(name, urls)
    settings = load_settings()
    assert getattr(settings, name.lower()) == urls
    assert "k3y" not in repr(settings)


@pytest.mark.parametrize("name", ["BASE_RPC_URL", "SOLANA_RPC_URL"])
@pytest.mark.parametrize(
    "urls", ["http://rpc.example/k3y", "https://a.example,http://rpc.example/k3y", "ws://k3y", "k3y"]
)
def test_an_endpoint_that_anyone_on_the_way_could_change(monkeypatch: pytest.MonkeyPatch, name: str, urls: str) -> None:
    monkeypatch.setenv(name, urls)
    with pytest.raises(Unusable, match=f"{name} must be https://") as caught:
        load_settings()
    assert "k3y" not in str(caught.value)
