"""Workers that submit nothing, and so need no keys: whose work they do, and what of it.

Files are fetched without any key. Requests that carried a payment of their own are polled by their unguessable id
alone; those of an account, or of a wallet's balance, with its key (guide, "Main Generation Endpoint").
"""

from collections.abc import Collection, Iterable

from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.operations.opening import Provider, configured_providers, pay_to_of
from orchestrator.payments.payer import Payer
from orchestrator.payments.payers import configured_payments
from orchestrator.store.accounts import accounts_at
from orchestrator.store.database import Connection


def worker_providers(settings: Settings, connection: Connection, *, submits: bool) -> list[Provider]:
    """The accounts that a worker works for: those that it has keys of, and unless it `submits`, all others that the
    database knows at its provider, as far as that needs no key. Raises Unusable where one that submits has no keys.
    """
    if submits:
        return configured_providers(settings)
    keyed = configured_providers(settings) if configured_payments(settings) else []
    known = {provider.account for provider in keyed}
    others = accounts_at(connection, settings.katana_base_url)
    return [*keyed, *(_keyless(settings, account) for account in others.values() if account not in known)]


def steps_done(steps: Collection[str], providers: Iterable[Provider]) -> frozenset[str]:
    """Of a worker's `steps` those that it does for all of its accounts: without keys it polls few requests."""
    polls_all = all(provider.has_keys or provider.payment.is_direct for provider in providers)
    return frozenset(steps) if polls_all else frozenset(steps) - {"poll"}


def _keyless(settings: Settings, account: str) -> Provider:
    payment = Payment.of_account(account) or Payment.CREDITS
    url = settings.katana_base_url
    return Provider(
        url,
        url,
        Payer(account, {}, payment),
        settings.base_rpc_url,
        settings.solana_rpc_url,
        pay_to_of(settings, payment),
        has_keys=False,
    )
