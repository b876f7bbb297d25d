"""A top-up of a wallet's balance: one at a time, gone on with until it is known what became of it.

A top-up that may still settle is gone on with before anything else: an account has one at most. One that has settled
without a command that told of it is told by the next one, which pays nothing: it may be the same one once more.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from orchestrator.base.clock import rfc3339
from orchestrator.base.errors import SpendRefused, Unusable
from orchestrator.base.money import canonical, optional_canonical
from orchestrator.base.payments import Network
from orchestrator.base.states import PaymentState
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.engine import top_up as engine
from orchestrator.engine.top_up import NoOffer, OpenTopUp, Till, TopUpQuote
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.wallet_wire import Movement
from orchestrator.operations.opening import Provider
from orchestrator.payments.guard import PaymentRefused
from orchestrator.store import budgets, top_ups
from orchestrator.store.database import Connection
from orchestrator.store.top_ups import TopUp

#: What a quote is asked of: whether a person agrees to it.
Agree = Callable[[TopUpQuote, str], bool]
#: Told what happens meanwhile.
Tell = Callable[[str], None]

#: So long a command waits for a top-up; what is still open then goes on without it.
PATIENCE_SECONDS = 60.0
_TURN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """How a top-up stands; `is_earlier`: it is one that an earlier command had signed."""

    top_up: TopUp
    is_earlier: bool
    #: What the provider calls the balance since; None where it did not say.
    balance: Decimal | None
    #: Whether the provider itself says that it is credited.
    is_credited: bool

    def document(self) -> dict[str, Any]:
        """The JSON of `wallet top-up`."""
        top_up, payment = self.top_up, self.top_up.payment
        return {
            "state": top_up.state,
            "earlier": self.is_earlier,
            "network": payment.network,
            "wallet": payment.payer,
            "credited_usdc": canonical(top_up.credited),
            "paid_usdc": canonical(payment.amount),
            "pay_to": payment.pay_to,
            "transaction": top_up.transaction,
            "balance_usdc": optional_canonical(self.balance),
            "confirmed": self.is_credited,
        }


async def settle_or_sign(
    till: Till, provider: Provider, amount: Decimal, agree: Agree, tell: Tell, *, is_another: bool
) -> ToppedUp | None:
    """What an earlier command signed is settled or told; else one is signed, once `agree` has said yes to its quote.

    None: it said no. Raises SpendRefused, Unusable.
    """
    still_open = await go_on_with_earlier(till, tell, seconds=PATIENCE_SECONDS)
    if still_open is not None:
        return await _standing(till, still_open, is_earlier=True)
    untold = await till.transact(top_ups.find_untold, till.account_pk)
    if untold is not None and not is_another:
        return await _standing(till, untold, is_earlier=True)
    await till.transact(_refuse_above_a_cap, till.account_pk, amount)
    quoted = await _quoted(till, provider, amount)
    await _require_funds(till, quoted)
    if not agree(quoted, till.wallet.address):
        return None
    if untold is not None:
        await note_told(till, untold)
    signed = await _signed(till, quoted)
    return await _standing(till, await _settle(till, signed.id, PATIENCE_SECONDS), is_earlier=False)


async def _require_funds(till: Till, quoted: TopUpQuote) -> None:
    """What the wallet cannot pay would only stand in the way until it is void. Raises SpendRefused.

    A chain that cannot be asked is no obstacle here: what is signed for Solana needs a blockhash of it anyway.
    """
    with suppress(RpcUnavailable):
        has = await till.chains.usdc_of(till.wallet.network, till.wallet.address)
        if has < quoted.paid:
            raise SpendRefused(
                f"the wallet {till.wallet.address} has {canonical(has)} USDC on {till.network.name.capitalize()}, and "
                f"this costs {canonical(quoted.paid)}; nothing was signed",
                hint="send USDC to it, or top up less",
            )


def _refuse_above_a_cap(connection: Connection, account_pk: int, amount: Decimal) -> None:
    """What is more than may be spent in a day or a month needs nobody at once. Raises SpendRefused."""
    caps = budgets.account_caps(connection, account_pk)
    passed = [cap for cap in caps if amount > cap.amount]
    if passed:
        raise SpendRefused(
            f"a top-up of {canonical(amount)} USDC is above the account's {passed[0].window} cap of "
            f"{canonical(passed[0].amount)}: nothing was signed",
            hint=budgets.raise_to_command(passed, amount),
        )


async def note_told(till: Till, top_up: TopUp) -> None:
    """Write down that a person was told of it, also outside the database."""
    await till.transact(top_ups.note_told, top_up.id)
    if till.receipts is not None:
        await asyncio.to_thread(till.receipts.keep_top_up, engine.receipt_of(top_up, is_told=True))


async def go_on_with_earlier(till: Till, tell: Tell, *, seconds: float) -> TopUp | None:
    """Settle what earlier commands signed, if anything; the one that may still settle."""
    while (found := await till.transact(top_ups.find_open, till.account_pk)) is not None:
        tell(
            f"a top-up of {canonical(found.credited)} USDC, signed at {rfc3339(found.created_at)}, may still settle: "
            "going on with it, nothing else is signed"
        )
        stands = await _settle(till, found.id, seconds)
        if stands.state is PaymentState.SIGNED:
            return stands
        if stands.state is PaymentState.VOID:
            tell("it cannot settle any more, and has not: nothing was paid")
    return None


async def _quoted(till: Till, provider: Provider, amount: Decimal) -> TopUpQuote:
    try:
        return await engine.quote(till, amount)
    except NoOffer as error:
        if error.verdict.status is None or error.verdict.status == 429 or error.verdict.status >= 500:
            raise Unusable(
                f"{provider.base_url} cannot be used now ({error.verdict.reason}): nothing was signed",
                hint="check KATANA_BASE_URL and the network",
            ) from None
        raise SpendRefused(f"the provider offers no top-up ({error.verdict.reason}): nothing was signed") from None
    except PaymentRefused as error:
        raise SpendRefused(f"{error.reason}: nothing was signed") from None
    except RpcUnavailable as error:
        raise Unusable(f"{error.reason}: nothing was signed", hint=_rpc_hint(till)) from None


async def _signed(till: Till, quoted: TopUpQuote) -> TopUp:
    try:
        return await engine.sign(till, quoted)
    except PaymentRefused as error:
        raise SpendRefused(f"{error.reason}: nothing was sent") from None
    except RpcUnavailable as error:
        raise Unusable(f"{error.reason}: nothing was signed", hint=_rpc_hint(till)) from None
    except OpenTopUp:
        raise SpendRefused(
            "another command has just signed a top-up of this wallet: this one was not sent",
            hint=f"see what became of it: orchestrator wallet transactions --network {till.network}",
        ) from None


def _rpc_hint(till: Till) -> str:
    return f"set {'BASE' if till.network is Network.BASE else 'SOLANA'}_RPC_URL to an endpoint that works"


async def _settle(till: Till, top_up_id: UUID, seconds: float) -> TopUp:
    """Go on with an open top-up for so long; how it stands then. To be broken off in between is no harm."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                await engine.go_on(till)
                stands = await till.transact(top_ups.find, top_up_id)
                if stands.state is not PaymentState.SIGNED:
                    return stands
                await asyncio.sleep(_TURN_SECONDS)
    except TimeoutError:
        return await till.transact(top_ups.find, top_up_id)


async def _standing(till: Till, top_up: TopUp, *, is_earlier: bool) -> ToppedUp:
    """A payment that only the chain has confirmed is looked for among the wallet's transactions."""
    if top_up.state is not PaymentState.SETTLED:
        return ToppedUp(top_up, is_earlier, None, is_credited=False)
    if top_up.receipt is not None:
        told = (top_up.receipt.get("answer") or {}).get("balance_usdc")
        return ToppedUp(top_up, is_earlier, None if told is None else Decimal(told), is_credited=True)
    try:
        entries = await till.client.transactions(till.wallet.address)
        has = await till.client.wallet_balance(till.wallet.address)
    except ProviderUnavailable:
        return ToppedUp(top_up, is_earlier, None, is_credited=False)
    is_listed = top_up.transaction is not None and any(
        entry.type is Movement.TOP_UP and entry.transaction == top_up.transaction for entry in entries
    )
    return ToppedUp(top_up, is_earlier, has, is_listed)
