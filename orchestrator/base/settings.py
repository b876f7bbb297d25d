"""Settings from the environment and `.env`: the only room that reads the environment.

Every secret may also be given as `NAME_FILE`, the path of a file that holds it.
"""

import base64
import getpass
import os
import socket
import stat
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import platformdirs
from dotenv import dotenv_values
from pydantic import AliasChoices, Field, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from orchestrator.base.errors import Unusable
from orchestrator.base.urls import is_loopback, is_loopback_url, split_address, url_parts

PRODUCTION_URL = "https://kat.imgnai.com"
_SHORTEST_KEY_BYTES = 16
#: What tells where the money behind a key goes, and what has become of it.
_LEADS = {
    "KATANA_API_KEY": ("KATANA_BASE_URL",),
    "KATANA_API_SECRET": ("KATANA_BASE_URL",),
    "EVM_PRIVATE_KEY": ("KATANA_BASE_URL", "BASE_RPC_URL", "ORCHESTRATOR_PAY_TO_BASE"),
    "SVM_PRIVATE_KEY": ("KATANA_BASE_URL", "SOLANA_RPC_URL", "ORCHESTRATOR_PAY_TO_SOLANA"),
}
_SECRETS = {
    "KATANA_API_KEY": "katana_api_key",
    "KATANA_API_SECRET": "katana_api_secret",
    "EVM_PRIVATE_KEY": "evm_private_key",
    "SVM_PRIVATE_KEY": "svm_private_key",
    "ORCHESTRATOR_DATABASE_URL": "database_url",
    "ORCHESTRATOR_BROKER_URL": "broker_url",
    "ORCHESTRATOR_WEBHOOK_SECRET": "webhook_secret",
}
"""The field of each secret; every one may also be given as `NAME_FILE`."""
#: Whoever can read one of these can take money: its file has to be nobody else's.
_WALLET_KEYS = ("EVM_PRIVATE_KEY", "SVM_PRIVATE_KEY")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _default_home() -> Path:
    return platformdirs.user_data_path("katana-orchestrator", appauthor=False)


def _default_actor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` for each secret that is not given directly."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in _SECRETS.items():
            path = os.environ.get(f"{name}_FILE")
            if path:
                try:
                    with Path(path).open(encoding="utf-8") as file:
                        if name in _WALLET_KEYS:
                            _refuse_readable_by_others(f"{name}_FILE", os.fstat(file.fileno()).st_mode)
                        found[_public_name(field)] = file.read().strip()
                except OSError as error:
                    raise Unusable(f"{name}_FILE cannot be read: {error.strerror}") from None
                except UnicodeDecodeError:
                    raise Unusable(f"{name}_FILE is not text") from None
        return found


class Settings(BaseSettings):
    """Everything that can be set from outside; see interface "Settings" for the meaning of each name."""

    # Not populate_by_name: it would also read $HOME as `home` and $DATABASE_URL as `database_url`.
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    katana_base_url: str = PRODUCTION_URL
    katana_api_key: SecretStr | None = None
    katana_api_secret: SecretStr | None = None
    evm_private_key: SecretStr | None = None
    svm_private_key: SecretStr | None = None
    #: RPC endpoints of the chains; several, separated by commas, have to agree. Often with a key in their path.
    base_rpc_url: str = Field(default="https://mainnet.base.org", repr=False)
    solana_rpc_url: str = Field(default="https://api.mainnet-beta.solana.com", repr=False)
    #: Whom payments may go to; unset: the recipient that an origin named first.
    pay_to_base: str | None = Field(default=None, validation_alias="ORCHESTRATOR_PAY_TO_BASE")
    pay_to_solana: str | None = Field(default=None, validation_alias="ORCHESTRATOR_PAY_TO_SOLANA")
    #: Whether payments on Solana carry a random memo, without which two equal ones could be one transaction.
    solana_memo: bool = Field(default=True, validation_alias="ORCHESTRATOR_SOLANA_MEMO")
    home: Path = Field(default_factory=_default_home, validation_alias="ORCHESTRATOR_HOME")
    database_url: SecretStr | None = Field(default=None, validation_alias="ORCHESTRATOR_DATABASE_URL")
    broker_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("ORCHESTRATOR_BROKER_URL", "CELERY_BROKER_URL")
    )
    destination: str = Field(default="./output", validation_alias="ORCHESTRATOR_DESTINATION")
    media: str | None = Field(default=None, validation_alias="ORCHESTRATOR_MEDIA")
    max_in_flight: PositiveInt = Field(default=64, validation_alias="ORCHESTRATOR_MAX_IN_FLIGHT")
    request_lost_after: float = Field(default=900, ge=0, validation_alias="ORCHESTRATOR_REQUEST_LOST_AFTER")
    stall_after: float = Field(default=300, ge=0, validation_alias="ORCHESTRATOR_STALL_AFTER")
    spool_bytes: PositiveInt = Field(default=20 * 1024**3, validation_alias="ORCHESTRATOR_SPOOL_BYTES")
    #: What copies hold in memory at once: half of it for files on their way, half for pictures being decoded.
    copy_memory_bytes: PositiveInt = Field(default=256 * 1024**2, validation_alias="ORCHESTRATOR_COPY_MEMORY_BYTES")
    usd_per_credit: Decimal = Field(
        default=Decimal("0.0052"), ge=0, le=1000, validation_alias="ORCHESTRATOR_USD_PER_CREDIT"
    )
    actor: str = Field(default_factory=_default_actor, validation_alias="ORCHESTRATOR_ACTOR")
    webhook_secret: SecretStr | None = Field(default=None, validation_alias="ORCHESTRATOR_WEBHOOK_SECRET")
    #: Where browsers reach the S3 store that links lead to; unset: where the process itself does.
    links_endpoint: str | None = Field(default=None, validation_alias="ORCHESTRATOR_LINKS_ENDPOINT")
    #: host:port where a worker serves its metrics and probes; unset: nowhere. Port 0 is any free one.
    metrics_address: str | None = Field(default=None, validation_alias="ORCHESTRATOR_METRICS_ADDRESS")
    log_format: Literal["text", "json"] = Field(default="text", validation_alias="ORCHESTRATOR_LOG_FORMAT")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls), dotenv_settings

    @field_validator("home", mode="after")
    @classmethod
    def _absolute_home(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("katana_base_url", mode="after")
    @classmethod
    def _secure_base_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("http", "https") or parts.port == 0:
            raise ValueError("must be an https:// URL")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must be https:// (http:// is allowed for this machine only)")
        if parts.username or parts.password:
            raise ValueError("must not carry a user name or password")
        return url.rstrip("/")

    @field_validator("base_rpc_url", "solana_rpc_url", mode="after")
    @classmethod
    def _secure_rpc_urls(cls, urls: str) -> str:
        """What an endpoint says decides about money: nobody on the way may change it."""
        for url in urls.split(","):
            parts = urlsplit(url.strip())
            if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback_url(url))):
                raise ValueError(
                    "must be https:// URLs, separated by commas (http:// is allowed for this machine only)"
                )
        return urls

    @field_validator("webhook_secret", mode="after")
    @classmethod
    def _decodable_webhook_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        try:
            is_long_enough = secret is None or len(_decoded(secret)) >= _SHORTEST_KEY_BYTES
        except ValueError:
            is_long_enough = False
        if not is_long_enough:
            raise ValueError(
                f"must be at least {_SHORTEST_KEY_BYTES} bytes in base64, with or without whsec_ before it "
                "(openssl rand -base64 32)"
            )
        return secret

    @field_validator("links_endpoint", mode="after")
    @classmethod
    def _is_web_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://store")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError("must be an http:// or https:// URL without a user name")
        return url

    @field_validator("metrics_address", mode="after")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        if address is not None:
            split_address(address)
        return address

    @property
    def secrets(self) -> list[str]:
        """Whatever of these settings must not be read in a log: each value, and the passwords in URLs."""
        fields = [getattr(self, field) for field in _SECRETS.values()]
        values = [field.get_secret_value() for field in fields if field is not None]
        urls = [*values, *self.base_rpc_url.split(","), *self.solana_rpc_url.split(",")]
        defaults = {type(self).model_fields[name].default for name in ("base_rpc_url", "solana_rpc_url")}
        passwords = [unquote(parts.password) for url in urls if (parts := url_parts(url)) and parts.password]
        return [secret for secret in (*urls, *passwords) if secret not in defaults]

    @property
    def webhook_key(self) -> bytes | None:
        """The bytes that webhooks are signed with (Standard Webhooks)."""
        return None if self.webhook_secret is None else _decoded(self.webhook_secret)


def _refuse_readable_by_others(name: str, mode: int) -> None:
    if os.name == "posix" and mode & _OTHERS:
        raise Unusable(
            f"{name} names a file that others on this machine may open (mode {stat.S_IMODE(mode):o}): it is not read",
            hint="chmod 600 that file",
        )


def _decoded(secret: SecretStr) -> bytes:
    """Raises ValueError where it is not base64."""
    return base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)


def load_settings(**overrides: Any) -> Settings:
    """Settings from `overrides` (by field name), the environment, secret files, `.env` and defaults, in that order.

    Raises Unusable for values that cannot be used, and for a base URL from `.env` that would receive
    credentials from elsewhere (a checked-out project must not be able to redirect a user's keys).
    """
    try:
        settings = Settings(**{_public_name(name): value for name, value in overrides.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "settings"
        raise Unusable(f"{name} {first['msg'].removeprefix('Value error, ')}") from None
    except UnicodeDecodeError:
        raise Unusable(".env, or the file that a NAME_FILE names, is not UTF-8 text") from None
    if "katana_base_url" not in overrides:
        _refuse_redirected_credentials(settings)
    return settings


def unread_names() -> dict[str, str | None]:
    """Names in the environment and `.env` that look like settings and are none, each with the one that it may mean."""
    aliases = [field.validation_alias for field in Settings.model_fields.values()]
    choices = [str(name) for alias in aliases if isinstance(alias, AliasChoices) for name in alias.choices]
    known = {*map(_public_name, Settings.model_fields), *choices, *(f"{secret}_FILE" for secret in _SECRETS)}
    known = {name.upper() for name in known}
    given = {name.upper() for name in (*os.environ, *dotenv_values(".env"))}
    unread = sorted(name for name in given - known if name.startswith(("ORCHESTRATOR_", "KATANA_")))
    return {name: next(iter(get_close_matches(name, sorted(known), n=1, cutoff=0.8)), None) for name in unread}


def _public_name(field_name: str) -> str:
    """The name that a field of Settings is given by. Raises TypeError for one that does not exist."""
    if field_name not in Settings.model_fields:
        raise TypeError(f"there is no setting {field_name!r}")
    alias = Settings.model_fields[field_name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else field_name


def _refuse_redirected_credentials(settings: Settings) -> None:
    dotenv = {name.upper() for name, value in dotenv_values(".env").items() if value}
    for key, names in _LEADS.items():
        if not (_in_environment(key) or _in_environment(f"{key}_FILE")):
            continue
        for name in names:
            if name in dotenv and not _in_environment(name) and not _is_production(settings, name):
                raise Unusable(
                    f"{name} comes from .env but {key} does not, so it is not used with it",
                    hint=f"set {name} in the environment, or put {key} into the same .env",
                )


def _is_production(settings: Settings, name: str) -> bool:
    return name == "KATANA_BASE_URL" and settings.katana_base_url == PRODUCTION_URL


def _in_environment(name: str) -> bool:
    return any(key.upper() == name for key in os.environ)
