"""What may still be reserved: read and used only under the account's row lock, so that whatever runs at the same time
cannot pass a budget or a cap.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from orchestrator.base.money import canonical
from orchestrator.base.notices import NoticeEvent
from orchestrator.store import outbox
from orchestrator.store.budgets import NEAR, Cap, account_caps, committed_credits, in_unit
from orchestrator.store.money_holds import budget_words, cap_words, put_money_hold, unsent_price, wants
from orchestrator.store.units import account_unit


class Purse:
    """What one claim may reserve. It counts what it has granted, so that several batches share the caps."""

    def __init__(self, connection: Connection, account_pk: int) -> None:
        self._connection = connection
        self._account_pk = account_pk
        self._unit = account_unit(connection, account_pk)
        self._caps = account_caps(connection, account_pk)
        self._committed: dict[str, Decimal] = {}
        self._granted: defaultdict[str, Decimal] = defaultdict(Decimal)

    def affordable(self, batch: Any, rows: Sequence[Any]) -> Sequence[Any]:
        """The first rows (with `price`) that fit; the batch is held at the first one that does not.

        `batch` has `id`, `budget` (None: none) and `usd_per_credit`. A job that costs nothing always fits. Whoever
        wants to know is told of a limit that is nearly reached.
        """
        fitting = self._fitting(batch, rows)
        if rows:
            self._note_near_limits(batch)
        return fitting

    def _fitting(self, batch: Any, rows: Sequence[Any]) -> Sequence[Any]:
        for number, row in enumerate(rows):
            if row.price <= 0:
                continue
            left = self._left_of(batch)
            if left is not None and row.price > left:
                self._hold_for_budget(batch, row, left)
                return rows[:number]
            passed = next((cap for cap in self._caps if cap.lacks(row.price, batch.usd_per_credit) > 0), None)
            if passed is not None:
                self._hold_for_cap(batch, row, passed)
                return rows[:number]
            self._granted[batch.id] += row.price
            for cap in self._caps:
                cap.used += in_unit(row.price, cap.unit, batch.usd_per_credit)
        return rows

    def _note_near_limits(self, batch: Any) -> None:
        """Once for each amount that a limit is set to."""
        left = self._left_of(batch)
        if left is not None and left < batch.budget and batch.budget - left >= NEAR * batch.budget:
            self._note_near(batch, f"budget:{batch.id}", "batch", self._unit.value, batch.budget, batch.budget - left)
        for cap in self._caps:
            if cap.used > 0 and cap.is_near:
                occasion = f"cap:{self._account_pk}:{cap.window}:{cap.ends}:{cap.unit}"
                self._note_near(batch, occasion, cap.window, cap.unit, cap.amount, cap.used)

    def _note_near(self, batch: Any, occasion: str, kind: str, unit: str, amount: Decimal, used: Decimal) -> None:
        limit = {"kind": kind, "unit": unit, "amount": canonical(amount), "used": canonical(used)}
        occasion = f"{occasion}:{limit['amount']}"
        outbox.note(self._connection, batch.id, NoticeEvent.BUDGET, occasion, {"limit": limit})

    def _left_of(self, batch: Any) -> Decimal | None:
        if batch.id not in self._committed:  # also without a budget: it folds the rows that the caps are summed from
            self._committed[batch.id] = committed_credits(self._connection, batch.id)
        if batch.budget is None:
            return None
        return Decimal(batch.budget - self._committed[batch.id] - self._granted[batch.id])

    def _hold_for_budget(self, batch: Any, row: Any, left: Decimal) -> None:
        rest = max(self._unsent(batch), row.price)
        put_money_hold(self._connection, batch.id, budget_words(batch, row, left, self._unit, rest))

    def _hold_for_cap(self, batch: Any, row: Any, cap: Cap) -> None:
        others = wants(self._connection, self._account_pk, but=batch.id)
        rest = max(self._unsent(batch), row.price)
        words = cap_words(row, cap, self._caps, batch.usd_per_credit, [*others, (rest, batch.usd_per_credit)])
        put_money_hold(self._connection, batch.id, words)

    def _unsent(self, batch: Any) -> Decimal:
        """What the jobs cost that are not sent yet and not granted just now: a hold's command is enough for all."""
        return unsent_price(self._connection, batch.id) - self._granted[batch.id]
