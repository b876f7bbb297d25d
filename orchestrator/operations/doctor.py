"""`doctor`: is everything there that a batch will need? Spends nothing and shows no secret."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import redis

from orchestrator.assets.destination import open_destination
from orchestrator.base.errors import OrchestratorError, Unusable
from orchestrator.base.money import canonical
from orchestrator.base.settings import PRODUCTION_URL, Settings, load_settings, unread_names
from orchestrator.operations.account import balance
from orchestrator.operations.catalogue import catalogue
from orchestrator.operations.check import Check, Health
from orchestrator.operations.clock_checks import database_clock, provider_clock
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import media_uri
from orchestrator.operations.receipt_checks import receipts
from orchestrator.operations.wallet_checks import wallets
from orchestrator.operations.worker_checks import workers
from orchestrator.payments.credits import credits_payer
from orchestrator.payments.payers import configured_payments
from orchestrator.store import migrate
from orchestrator.store.embedded import data_dir

_OLD_CATALOGUE_DAYS = 120
_BROKER_TIMEOUT_SECONDS = 5


def doctor() -> Iterator[Check]:
    """Every check, one after the other as they are made. Raises nothing for what is not as it should be."""
    try:
        settings = load_settings()
    except Unusable as error:
        yield Check("settings", Health.FAIL, error.message, error.hint)
        return
    yield Check("settings", Health.OK, f"provider {settings.katana_base_url}, home {settings.home}")
    for name, meant in unread_names().items():
        hint = None if meant is None else f"did you mean {meant}?"
        yield Check("settings", Health.WARN, f"{name} is no setting, and is not read", hint)
    for name, look in _CHECKS.items():
        yield from _guarded(name, look, settings)


def _guarded(name: str, look: Callable[[Settings], Iterator[Check]], settings: Settings) -> Iterator[Check]:
    try:
        yield from look(settings)
    except OrchestratorError as error:
        yield Check(name, Health.FAIL, error.message, error.hint)
    except OSError as error:
        yield Check(name, Health.FAIL, f"{error.filename or name}: {error.strerror or type(error).__name__}")


def _home(settings: Settings) -> Iterator[Check]:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home) as file:
            file.write(b"probe")
    except OSError as error:
        hint = "set ORCHESTRATOR_HOME to a folder that you may write to"
        yield Check("home", Health.FAIL, f"{settings.home} cannot be used: {error.strerror}", hint)
        return
    yield Check("home", Health.OK, f"{settings.home} can be written")


def _database(settings: Settings) -> Iterator[Check]:
    with open_database(settings) as database:
        schema = migrate.current(database)
        further = [database_clock(database), *receipts(settings, database), *workers(settings, database)]
    yield from further
    if settings.database_url is not None:
        yield Check("database", Health.OK, f"{database.label} is at schema {schema}")
        return
    folder = data_dir(settings.home)
    yield Check("database", Health.OK, f"embedded Postgres at schema {schema}, its data in {folder}")
    if os.geteuid() == 0:
        yield Check(
            "database", Health.WARN, "run as root, the embedded Postgres works as a user of its own, `pgserver`",
            f"its data are in {folder}; a user who is not root, or ORCHESTRATOR_DATABASE_URL, avoids that",
        )  # fmt: skip


def _broker(settings: Settings) -> Iterator[Check]:
    if settings.broker_url is None:
        yield Check("broker", Health.OK, "none: batches are worked in the process that submits them")
        return
    url = settings.broker_url.get_secret_value()
    if not url.startswith(("redis://", "rediss://", "unix://")):
        yield Check("broker", Health.WARN, "it is not Redis, so it cannot be checked from here")
        return
    if settings.database_url is None:
        yield Check(
            "broker", Health.WARN, "workers on other machines cannot reach the embedded database",
            "set ORCHESTRATOR_DATABASE_URL for all of them",
        )  # fmt: skip
    yield _redis(url)


def _redis(url: str) -> Check:
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_BROKER_TIMEOUT_SECONDS, socket_connect_timeout=_BROKER_TIMEOUT_SECONDS
        ) as client:
            client.ping()
            policy = _eviction_policy(client)
    except (redis.RedisError, ValueError, OSError) as error:
        return Check(
            "broker", Health.FAIL, f"Redis does not answer ({type(error).__name__})", "check ORCHESTRATOR_BROKER_URL"
        )
    if policy not in (None, "noeviction"):
        return Check(
            "broker", Health.WARN, f"Redis answers, but its maxmemory-policy {policy} may drop queues when it is full",
            "set maxmemory-policy to noeviction",
        )  # fmt: skip
    return Check("broker", Health.OK, "Redis answers")


def _eviction_policy(client: "redis.Redis") -> str | None:
    """Redis' eviction policy; None where the server does not tell (many hosted ones do not)."""
    try:
        return str(client.config_get("maxmemory-policy")["maxmemory-policy"])
    except (redis.ResponseError, KeyError):
        return None


def _credentials(settings: Settings) -> Iterator[Check]:
    if settings.katana_api_key is None and settings.katana_api_secret is None:
        if configured_payments(settings):
            yield Check("credentials", Health.OK, "none of an account: payments are in USDC")
            return
        yield Check(
            "credentials", Health.WARN, "none, so only --sandbox works", "set KATANA_API_KEY and KATANA_API_SECRET"
        )
        return
    yield Check("credentials", Health.OK, f"there, for the account {credits_payer(settings).account}")
    credit = balance(settings)
    verdict = Health.OK if credit else Health.WARN
    yield Check("balance", verdict, f"{canonical(credit)} credits", None if credit else "top up at the provider")
    if settings.katana_base_url == PRODUCTION_URL:
        yield Check(
            "history", Health.WARN,
            "whether the account keeps its prompt and result history cannot be seen from here",
            "leave it switched on at the provider's API page: results may be lost to polling where it is off",
        )  # fmt: skip


def _destination(settings: Settings) -> Iterator[Check]:
    destination = open_destination(settings.destination)
    destination.probe()
    yield Check("destination", Health.OK, f"{destination.describe()} takes and gives back a file")


def _media(settings: Settings) -> Iterator[Check]:
    store = open_destination(media_uri(settings, open_destination(settings.destination).describe()))
    store.probe()
    yield Check("media", Health.OK, f"input files are kept in {store.describe()}")


def _catalogue(settings: Settings) -> Iterator[Check]:
    catalog = catalogue(settings)
    fetched_at = datetime.fromisoformat(catalog.fetched_at)
    days = (datetime.now(UTC) - fetched_at).days
    message = f"{len(catalog.models)} models, {catalog.source}, {days} days old"
    if days > _OLD_CATALOGUE_DAYS:
        yield Check("catalogue", Health.WARN, message, "orchestrator models --refresh")
    else:
        yield Check("catalogue", Health.OK, message)


_CHECKS: dict[str, Callable[[Settings], Iterator[Check]]] = {
    "home": _home,
    "database": _database,
    "broker": _broker,
    "credentials": _credentials,
    "clock": provider_clock,
    "wallets": wallets,
    "destination": _destination,
    "media": _media,
    "catalogue": _catalogue,
}
