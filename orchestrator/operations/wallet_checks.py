"""What `doctor` looks at for each network with a wallet's key: key, chain, what the provider takes, and balance."""

import asyncio
from collections.abc import Iterator
from typing import Any

from orchestrator.base.errors import OrchestratorError
from orchestrator.base.money import in_words
from orchestrator.base.payments import CHAINS, Network, Payment, Unit
from orchestrator.base.settings import Settings
from orchestrator.chain.chains import Chains
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.x402_document import entries_of
from orchestrator.operations.account import read_balance
from orchestrator.operations.check import Check, Health
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import provider_for
from orchestrator.payments.payers import configured_payments, payer_for
from orchestrator.store import payees

_WALLETS = {Network.BASE: Payment.WALLET_BASE, Network.SOLANA: Payment.WALLET_SOLANA}


def wallets(settings: Settings) -> Iterator[Check]:
    """The checks of each network whose key is set. Signs nothing but a proof of the address. Raises nothing of it."""
    configured = configured_payments(settings)
    networks = [network for network, payment in _WALLETS.items() if payment in configured]
    if networks:
        told = asyncio.run(_told_of_x402(settings))
        for network in networks:
            for name, look in (("wallet", _key), ("rpc", _rpc), ("x402", _x402), ("wallet balance", _balance)):
                try:
                    yield look(settings, network, told)
                except OrchestratorError as error:
                    yield Check(f"{name} {network}", Health.FAIL, error.message, error.hint)


async def _told_of_x402(settings: Settings) -> Any:
    """What `GET /v1/x402` says; the reason in words where it says nothing."""
    try:
        async with KatanaClient(settings.katana_base_url, {}) as client:
            return await client.x402()
    except ProviderUnavailable as error:
        return error.reason


def _key(settings: Settings, network: Network, _: Any) -> Check:
    address = payer_for(settings, _WALLETS[network]).account.partition(":")[2]
    return Check(f"wallet {network}", Health.OK, f"its key can be used; pays as {address}")


def _rpc(settings: Settings, network: Network, _: Any) -> Check:
    found = asyncio.run(_final_heights(settings, network))
    problems = [each for each in found if isinstance(each, str)]
    name, hint = f"rpc {network}", f"check {network.upper()}_RPC_URL, or give another endpoint"
    if problems:
        verdict = Health.FAIL if len(problems) == len(found) else Health.WARN
        return Check(name, verdict, f"of {len(found)} endpoint(s) {len(problems)} cannot be used: {problems[0]}", hint)
    alone = "; with one endpoint, a payment counts as failed after two looks" if len(found) == 1 else ""
    return Check(name, Health.OK, f"{len(found)} endpoint(s), the last final block is {max(map(int, found))}{alone}")


async def _final_heights(settings: Settings, network: Network) -> list[int | str]:
    async with Chains(settings.base_rpc_url, settings.solana_rpc_url) as chains:
        return await chains.final_heights(network)


def _x402(settings: Settings, network: Network, told: Any) -> Check:
    name = f"x402 {network}"
    if isinstance(told, str):
        return Check(name, Health.WARN, f"the provider does not tell what it takes: {told}")
    entry = next(entries_of(told, network), None)
    if entry is None:
        return Check(name, Health.WARN, f"the provider does not name {network} among the networks that it takes")
    asset, pay_to = entry.get("asset"), entry.get("payTo", entry.get("pay_to"))
    if asset is not None and not _is_same(network, asset, CHAINS[network].usdc):
        return Check(
            name, Health.FAIL, f"the provider wants {asset}, which is not USDC ({CHAINS[network].usdc})",
            "nothing is signed for it",
        )  # fmt: skip
    return _recipient(settings, network, pay_to)


def _recipient(settings: Settings, network: Network, pay_to: object) -> Check:
    """The recipient that the provider names against the one that may be paid."""
    name, setting = f"x402 {network}", f"ORCHESTRATOR_PAY_TO_{network.upper()}"
    configured = settings.pay_to_base if network is Network.BASE else settings.pay_to_solana
    expected = configured or _pinned(settings, network)
    if not isinstance(pay_to, str):
        known = f"only {expected} is paid" if expected else "the first one that an offer names is pinned"
        return Check(name, Health.OK, f"USDC is taken; its recipient is not told here, {known}")
    if expected is None:
        message = f"USDC is taken and goes to {pay_to}; whom the first offer names is pinned"
        return Check(name, Health.OK, message, f"to fix it yourself, set {setting}")
    if not _is_same(network, pay_to, expected):
        message = f"the provider names {pay_to} as recipient, but only {expected} may be paid: nothing is signed"
        hint = f"ask the provider; {'change' if configured else 'if it has moved, set'} {setting}"
        return Check(name, Health.FAIL, message, hint)
    return Check(name, Health.OK, f"USDC is taken and goes to {pay_to}, {'as set' if configured else 'as pinned'}")


def _pinned(settings: Settings, network: Network) -> str | None:
    with open_database(settings) as database, database.begin() as connection:
        return payees.pinned(connection, settings.katana_base_url, network)


def _is_same(network: Network, one: object, other: str) -> bool:
    """Whether two addresses are the same; on Base the case of their letters is a checksum only."""
    return one == other or (network is Network.BASE and isinstance(one, str) and one.lower() == other.lower())


def _balance(settings: Settings, network: Network, _: Any) -> Check:
    payment = _WALLETS[network]
    amount = read_balance(provider_for(settings, payment))
    hint = None if amount else f"for `payment: {payment}` only: orchestrator wallet top-up AMOUNT --network {network}"
    return Check(f"wallet balance {network}", Health.OK, f"{in_words(amount, Unit.USDC)} at the provider", hint)
