"""The hold of a batch whose wallet has too little at the provider: how much it lacks, and the command that helps."""

from decimal import Decimal

from orchestrator.base.money import canonical
from orchestrator.base.payments import CHAINS, Network, Payment, from_atomic
from orchestrator.base.states import HoldCode
from orchestrator.katana.verdict import Verdict
from orchestrator.store import terms
from orchestrator.store.budgets import account_caps
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection
from orchestrator.store.holds import put_hold


def hold_for_balance(connection: Connection, work: ClaimedSubmission, payment: Payment, verdict: Verdict) -> None:
    """Put a batch on hold whose request was answered with a 402; call it before its jobs are put back.

    The command tops up for the whole rest of the batch, as far as one top-up may: what this request lacks, and what is
    not sent yet or was sent beside it and will most likely be refused, too.
    """
    assert payment.network is not None
    rest = terms.unanswered_estimate(connection, work.batch_id, work.id)
    lacking = _lacking(verdict, payment.network)
    if lacking is None:
        lacking = terms.reserved(connection, work.id)
        words = f"the wallet's balance does not cover this request ({verdict.reason}); it is {canonical(lacking)} USDC"
    else:
        words = f"the wallet's balance lacks {canonical(lacking)} USDC for this request"
    if rest:
        words += f", and {canonical(rest)} USDC of jobs wait behind it"
    caps = account_caps(connection, terms.account_of(connection, work.batch_id))
    amount = max(lacking, min([lacking + rest, *(cap.amount for cap in caps)]))
    put_hold(
        connection,
        work.batch_id,
        HoldCode.BALANCE_LOW,
        f"{words}; then: orchestrator resume {work.batch_id}",
        f"orchestrator wallet top-up {canonical(amount)} --network {payment.network}",
    )


def _lacking(verdict: Verdict, network: Network) -> Decimal | None:
    """What a 402 asks for on a network (guide, "X-Sign-In-With-X wallet proof": "for the shortfall")."""
    amounts = [offer.amount for offer in verdict.offers if offer.network == CHAINS[network].caip2 and offer.amount > 0]
    return from_atomic(amounts[0]) if amounts else None
