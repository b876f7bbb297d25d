"""`budget`: an account's daily and monthly caps, a batch's budget, and the check of a price against what is left."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.money import canonical, in_words
from orchestrator.base.payments import ATOMIC, USDC_PER_CREDIT, Payment, Unit
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database
from orchestrator.payments.payers import configured_payments, payer_for
from orchestrator.planner.pricing import dollars_in_credits
from orchestrator.store import accounts, batches, budgets, caps
from orchestrator.store.budgets import Window
from orchestrator.store.caps import BatchBudget, Limit
from orchestrator.store.database import Connection

__all__ = ["Limit", "Window", "budget", "check_caps", "payment_of", "set_batch_budget", "set_budget"]


def budget(settings: Settings, payment: Payment | None = None) -> dict[str, Any]:
    """The caps of the account that pays so, what counts in their windows, and the batches held for money.

    `payment` None: credits, or the only way to pay that is configured. Raises Unusable without its key.
    """
    return set_budget(settings, {}, payment)


def set_budget(
    settings: Settings, limits: Mapping[Window, Limit | None], payment: Payment | None = None
) -> dict[str, Any]:
    """Set the caps that are named (None: no cap) of the account that pays so; returns what `budget` does.

    A cap below what is already used is allowed: nothing more is sent. Raising one lifts no hold; `resume` does.
    Raises UsageError for a unit that the account does not know.
    """
    payment = payment_of(settings, payment)
    _require_known_units(payment, limits)
    account = payer_for(settings, payment).account
    with open_database(settings) as database, database.begin() as connection:
        account_pk = accounts.account_pk(connection, settings.katana_base_url, account, payment.unit)
        if limits:
            caps.set_caps(connection, account_pk, limits)
        document = {"account": account} | caps.budget_document(connection, account_pk)
    return document | {"notices": [*_used_up(document), *_to_resume(document["held"])]}


def payment_of(settings: Settings, payment: Payment | None) -> Payment:
    """The way to pay that is meant: where none is said, credits, or the only one whose key is set.

    Raises UsageError where there are several, and none of them is credits.
    """
    configured = configured_payments(settings)
    if payment is not None or not configured or Payment.CREDITS in configured:
        return payment or Payment.CREDITS
    if len(configured) > 1:
        raise UsageError("whose caps? there are keys for several ways to pay", hint=f"--payment {'|'.join(configured)}")
    return configured[0]


def _require_known_units(payment: Payment, limits: Mapping[Window, Limit | None]) -> None:
    known = ("credits", "usd") if payment.unit is Unit.CREDITS else ("usdc", "usd")
    for limit in limits.values():
        if limit is not None and limit.unit not in known:
            raise UsageError(
                f"the account of {payment} has no cap in {limit.unit}", hint=f"give it in {' or '.join(known)}"
            )


def _used_up(document: dict[str, Any]) -> list[str]:
    windows = ((window, document[window]) for window in caps.WINDOWS)
    return [
        f"nothing is left of the {window} cap: nothing more is sent until {use['ends_at']}, or until it is raised"
        for window, use in windows
        if use["left"] == "0"
    ]


def _to_resume(held: list[dict[str, Any]]) -> list[str]:
    return [f"once there is room, {row['batch']} goes on with: orchestrator resume {row['batch']}" for row in held]


def set_batch_budget(reference: str, settings: Settings, limit: Limit) -> dict[str, Any]:
    """Raise or lower what one batch may cost. Raises UsageError below what is spent, reserved or in doubt already."""
    with open_database(settings) as database, database.begin() as connection:
        batch = caps.batch_budget(connection, batches.find_batch(connection, reference))
        amount = _in_unit_of(batch, limit)
        committed = caps.set_batch_budget(connection, batch, amount)
        held = [row for row in caps.held_for_money(connection, batch.account_pk) if row["batch"] == batch.batch_id]
    return {
        "batch": batch.batch_id,
        "budget": _in_units(batch, amount),
        "used": _in_units(batch, committed),
        "left": _in_units(batch, amount - committed),
        "notices": _to_resume(held),
    }


def _in_unit_of(batch: BatchBudget, limit: Limit) -> Decimal:
    """A limit in credits or dollars in the unit of a batch. Raises UsageError where credits cost it nothing."""
    if batch.unit is Unit.USDC:
        rate = USDC_PER_CREDIT if limit.unit == "credits" else 1
        return (limit.amount * rate).quantize(ATOMIC, ROUND_DOWN)
    amount = limit.amount if limit.unit == "credits" else dollars_in_credits(limit.amount, batch.usd_per_credit)
    if amount is None:
        raise UsageError(f"a credit costs {batch.batch_id} no dollars", hint="give its budget in --credits")
    return amount


def _in_units(batch: BatchBudget, amount: Decimal) -> dict[str, str]:
    return caps.in_units(batch.unit, amount, amount * batch.usd_per_credit)


def check_caps(connection: Connection, account_pk: int, amount: Decimal, usd_rate: Decimal) -> None:
    """Raises SpendRefused where so much more, in the account's unit, passes a cap of it. Reserves nothing: the claims
    do.
    """
    found = budgets.account_caps(connection, account_pk)
    for cap in found:
        if cap.lacks(amount, usd_rate) > 0:
            needed = budgets.in_unit(amount, cap.unit, usd_rate)
            left = f"{canonical(cap.left)} left" if cap.left > 0 else "nothing left"
            raise SpendRefused(
                f"this needs up to {in_words(needed, cap.unit)}, and the {cap.window} cap of "
                f"{in_words(cap.amount, cap.unit)} has {left} until {cap.ends} 00:00 UTC; nothing was stored or sent",
                hint=f"make it smaller, or raise the cap: {budgets.raise_command(found, [(amount, usd_rate)])}",
                code="over-budget",
            )
