"""`budget`: an account's daily and monthly caps, a batch's budget, and the check of a price against what is left."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.money import canonical
from orchestrator.base.settings import Settings
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import real_provider
from orchestrator.planner.pricing import dollars_in_credits
from orchestrator.store import accounts, batches, budgets, caps
from orchestrator.store.budgets import Window
from orchestrator.store.caps import Limit
from orchestrator.store.database import Connection

__all__ = ["Limit", "Window", "budget", "check_caps", "set_batch_budget", "set_budget"]


def budget(settings: Settings) -> dict[str, Any]:
    """The caps of the account in `settings`, what counts in their windows, and the batches held for money.

    Raises Unusable without credentials.
    """
    return set_budget(settings, {})


def set_budget(settings: Settings, limits: Mapping[Window, Limit | None]) -> dict[str, Any]:
    """Set the caps that are named (None: no cap) of the account in `settings`; returns what `budget` does.

    A cap below what is already used is allowed: nothing more is sent. Raising one lifts no hold; `resume` does.
    """
    provider = real_provider(settings)
    with open_database(settings) as database, database.begin() as connection:
        account_pk = accounts.account_pk(connection, provider.origin, provider.account)
        if limits:
            caps.set_caps(connection, account_pk, limits)
        document = {"account": provider.account} | caps.budget_document(connection, account_pk)
    return document | {"notices": [*_used_up(document), *_to_resume(document["held"])]}


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
        in_credits = limit.unit == "credits"
        credit_amount = limit.amount if in_credits else dollars_in_credits(limit.amount, batch.usd_per_credit)
        if credit_amount is None:
            raise UsageError(f"a credit costs {batch.batch_id} no dollars", hint="give its budget in --credits")
        committed = caps.set_batch_budget(connection, batch, credit_amount)
        held = [row for row in caps.held_for_money(connection, batch.account_pk) if row["batch"] == batch.batch_id]
    return {
        "batch": batch.batch_id,
        "budget": _in_both(credit_amount, batch.usd_per_credit),
        "used": _in_both(committed, batch.usd_per_credit),
        "left": _in_both(credit_amount - committed, batch.usd_per_credit),
        "notices": _to_resume(held),
    }


def _in_both(credit_amount: Decimal, usd_per_credit: Decimal) -> dict[str, str]:
    return {"credits": canonical(credit_amount), "usd": canonical(credit_amount * usd_per_credit)}


def check_caps(connection: Connection, account_pk: int, credit_amount: Decimal, usd_per_credit: Decimal) -> None:
    """Raises SpendRefused where so many credits more pass a cap of the account. Reserves nothing: the claims do."""
    found = budgets.account_caps(connection, account_pk)
    for cap in found:
        if cap.lacks(credit_amount, usd_per_credit) > 0:
            needed = budgets.in_unit(credit_amount, cap.unit, usd_per_credit)
            left = f"{canonical(cap.left)} left" if cap.left > 0 else "nothing left"
            raise SpendRefused(
                f"this needs up to {canonical(needed)} {cap.unit}, and the {cap.window} cap of "
                f"{canonical(cap.amount)} {cap.unit} has {left} until {cap.ends} 00:00 UTC; nothing was stored or sent",
                hint=f"make it smaller, or raise the cap: "
                f"{budgets.raise_command(found, credit_amount, usd_per_credit)}",
                code="over-budget",
            )
