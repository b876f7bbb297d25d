"""Who would pay for a batch, whom, and how much at most: shown before anybody is asked."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Decimal

from orchestrator.base.money import in_words
from orchestrator.base.payments import ATOMIC, SETTLEMENT_ALLOWANCE, TOKEN_ACCOUNT_ALLOWANCE, Network, Payment, Unit
from orchestrator.chain.chains import Chains
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.engine.payee import told_recipient
from orchestrator.operations.opening import Provider
from orchestrator.payments import guard
from orchestrator.planner.result import Plan
from orchestrator.planner.ways import count_requests
from orchestrator.store import payees
from orchestrator.store.database import Connection


@dataclass(frozen=True, slots=True)
class Terms:
    """`payer` is an address; `pay_to` whom payments may go to, None where the first offer will say: it has to name whom
    the provider tells beforehand (`told`). `at_most` is in the unit of the payment, with what quotes may ask for above
    the estimate; never more than the `budget`.
    """

    payment: Payment
    payer: str
    pay_to: str | None
    at_most: Decimal
    budget: Decimal | None
    told: str | None = None

    def words(self) -> str:
        """One line for people."""
        whom = ""
        if self.payment.is_direct:
            first = f" to {self.told}, as it tells, who is" if self.told else " to whom the first offer names, who is"
            whom = f" to {self.pay_to}" if self.pay_to else f"{first} pinned then"
        return f"{self.payer} pays ({self.payment}){whom}, at most {self.at_most_words()}"

    def at_most_words(self) -> str:
        """The amount that one is asked with."""
        return in_words(self.at_most, self.payment.unit)


def terms_of(connection: Connection, provider: Provider, bought: Plan) -> Terms | None:
    """The terms of what is bought; None where credits pay: their price is all there is to say."""
    network, wallet = provider.payment.network, provider.payer.wallet
    if network is None or wallet is None:
        return None
    pay_to = provider.pay_to or payees.pinned(connection, provider.origin, network)
    return Terms(provider.payment, wallet.address, pay_to, _at_most(bought), bought.budget)


def with_told(terms: Terms, provider: Provider) -> Terms:
    """With whom the provider tells to pay, where nobody is set or pinned yet, and, on Solana, with what the account
    that this recipient still lacks may cost once. What cannot be asked now is left out.
    """
    network = terms.payment.network
    if network is None or not terms.payment.is_direct:
        return terms
    return asyncio.run(_asked(terms, provider, network))


async def _asked(terms: Terms, provider: Provider, network: Network) -> Terms:
    async with (
        provider.client() as client,
        Chains(provider.base_rpc_url, provider.solana_rpc_url) as chains,
    ):
        if terms.pay_to is None:
            terms = replace(terms, told=await told_recipient(client, network))
        recipient = terms.pay_to or terms.told
        with suppress(RpcUnavailable):
            if network is Network.SOLANA and recipient and not await chains.has_token_account(recipient):
                most = terms.at_most + TOKEN_ACCOUNT_ALLOWANCE
                return replace(terms, at_most=most if terms.budget is None else min(most, terms.budget))
    return terms


def _at_most(bought: Plan) -> Decimal:
    """Never more than the budget."""
    usdc = bought.usdc
    if usdc is None or bought.payment.unit is Unit.CREDITS:
        return bought.amount
    most = usdc.total
    if bought.payment.is_direct:
        allowed = bought.price_tolerance
        tolerance = guard.TOLERANCE if allowed is None else min(guard.TOLERANCE, allowed)
        settlement = SETTLEMENT_ALLOWANCE * count_requests(bought.jobs, bought.bundle)
        most = (usdc.work * (1 + tolerance)).quantize(ATOMIC, ROUND_UP) + settlement
    return most if bought.budget is None else min(most, bought.budget)
