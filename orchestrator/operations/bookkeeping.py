"""`ledger`: its entries, sums of them, whether it balances, and an account's month."""

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from orchestrator.base.clock import rfc3339
from orchestrator.base.errors import Unusable, UsageError
from orchestrator.base.money import ZERO, canonical, optional_canonical
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.settings import Settings
from orchestrator.base.states import Book
from orchestrator.operations.account import keep_reading
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import provider_for
from orchestrator.payments.payers import configured_payments, payer_for
from orchestrator.store import accounts, batches, statements
from orchestrator.store import entries as ledger
from orchestrator.store.audit import audit
from orchestrator.store.budgets import today
from orchestrator.store.database import Connection, Database
from orchestrator.store.entries import BOOKS, Selection, Sums
from orchestrator.store.paid import payment_document
from orchestrator.store.statements import BalanceReading, Statement

log = logging.getLogger("orchestrator.operations")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose entries: of a batch, else of the accounts of the keys in the settings (of all accounts where there are
    none); and of which UTC days, both included.
    """

    batch: str | None = None
    first: date | None = None
    last: date | None = None


@contextmanager
def _selected(settings: Settings, wanted: Wanted) -> Iterator[tuple[Connection, Selection]]:
    if wanted.first and wanted.last and wanted.first > wanted.last:
        raise UsageError(f"{wanted.first} is after {wanted.last}: there are no such days")
    with open_database(settings) as database, database.begin() as connection:
        if wanted.batch is not None:
            batch_id = batches.find_batch(connection, wanted.batch)
            yield connection, Selection(batch_id=batch_id, first=wanted.first, last=wanted.last)
        else:
            yield connection, Selection(_account_pks(connection, settings), first=wanted.first, last=wanted.last)


def _account_pks(connection: Connection, settings: Settings) -> list[int] | None:
    """The accounts of the keys in the settings; None where there are none."""
    return [_account_pk(connection, settings, way) for way in _ways(settings)] or None


def _ways(settings: Settings) -> list[Payment]:
    """The ways to pay that there are keys for."""
    has_credentials = settings.katana_api_key is not None or settings.katana_api_secret is not None
    return sorted({*configured_payments(settings), *([Payment.CREDITS] if has_credentials else [])})


def _account_pk(connection: Connection, settings: Settings, way: Payment) -> int:
    return accounts.account_pk(connection, settings.katana_base_url, payer_for(settings, way).account, way.unit)


def ledger_entries(settings: Settings, wanted: Wanted = Wanted()) -> Iterator[dict[str, Any]]:
    """The documents of the entries, the newest last, one at a time. Raises UsageError for an unknown batch."""
    with _selected(settings, wanted) as (connection, selection):
        yield from map(_entry_document, ledger.entries(connection, selection))


def newest_entries(settings: Settings, wanted: Wanted, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The documents of the last `limit` entries, the newest last, and how many entries there are."""
    with _selected(settings, wanted) as (connection, selection):
        found = [_entry_document(row) for row in ledger.entries(connection, selection, limit)]
        return found, ledger.count_entries(connection, selection)


def _entry_document(row: Any) -> dict[str, Any]:
    in_credits = row.unit == Unit.CREDITS
    return {
        "at": rfc3339(row.at),
        "day": str(row.day),
        "batch": row.batch_id,
        "job": row.job,
        "model": row.model,
        "labels": row.labels,
        "submission": str(row.submission_id),
        "kind": row.kind,
        "from": row.from_book,
        "to": row.to_book,
        "credits": canonical(row.amount) if in_credits else "0",
        "usd": canonical(row.amount * row.usd_per_credit),
        "usd_per_credit": canonical(row.usd_per_credit),
        "actor": row.actor,
        "usdc": None if in_credits else canonical(row.amount),
        "unit": row.unit,
        "payment": payment_document(row),
    }


def ledger_sums(settings: Settings, by: str, wanted: Wanted = Wanted()) -> dict[str, Any]:
    """What the entries moved into each book, by `day`, `model` or `label.NAME`. Raises UsageError for another `by`."""
    if by not in ("day", "model") and not (by.startswith("label.") and by != "label."):
        raise UsageError(f"there is no grouping by {by!r}", hint="--by day, --by model or --by label.NAME")
    with _selected(settings, wanted) as (connection, selection):
        rows = ledger.sums_by(connection, selection, by)
    return {"by": by, "rows": [_sums_document(row) for row in rows], "total": _sums_document(_total(rows))}


def _total(rows: list[Sums]) -> Sums:
    return Sums(
        None,
        sum(row.entries for row in rows),
        credits={book: sum((row.credits[book] for row in rows), ZERO) for book in BOOKS},
        usdc={book: sum((row.usdc[book] for row in rows), ZERO) for book in BOOKS},
        usd={book: sum((row.usd[book] for row in rows), ZERO) for book in BOOKS},
    )


def _sums_document(row: Sums) -> dict[str, Any]:
    return {
        "group": row.group,
        "entries": row.entries,
        "credits": {book.value: canonical(row.credits[book]) for book in BOOKS},
        "usd": {book.value: canonical(row.usd[book]) for book in BOOKS},
        "usdc": {book.value: canonical(row.usdc[book]) for book in BOOKS},
    }


def ledger_check(settings: Settings, reference: str | None = None) -> dict[str, Any]:
    """Whether the books of a batch, or of all there are, balance with the rows that they are about."""
    with open_database(settings) as database, database.begin() as connection:
        batch_id = None if reference is None else batches.find_batch(connection, reference)
        found = [finding.document() for finding in audit(connection, batch_id)]
        counted = ledger.count_entries(connection, Selection(batch_id=batch_id))
    return {"balanced": not found, "entries": counted, "findings": found}


def ledger_statement(settings: Settings, month: str) -> dict[str, Any]:
    """The month (`2026-11`, UTC) of the accounts of the keys in `settings`, or of every account where there are none.

    The balance is read first, with the key, where the month that runs has no reading since something was last charged.
    Raises UsageError for what is no month, or one that has not begun.
    """
    found = _MONTH.fullmatch(month)
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{month!r} is not a month", hint="write it like 2026-11")
    first = date(int(found[1]), int(found[2]), 1)
    after = (first + timedelta(days=31)).replace(day=1)
    with open_database(settings) as database:
        with database.begin() as connection:
            if first > today(connection):
                raise UsageError(f"{month} has not begun")
            ours = _account_pks(connection, settings)
            pks = statements.accounts_with_money(connection, after)
            if ours is not None:
                pks = ours if len(ours) == 1 else [pk for pk in pks if pk in ours]
            unread = {pk for pk in pks if not statements.statement(connection, pk, first).is_closed}
            is_running = today(connection) < after
        if is_running:
            _read_balances(database, settings, unread)
        with database.begin() as connection:
            documents = [_statement_document(statements.statement(connection, pk, first)) for pk in pks]
    return {"month": month, "accounts": documents}


def _read_balances(database: Database, settings: Settings, account_pks: Collection[int]) -> None:
    """Have the provider tell what these accounts have, as far as there are keys. A failure is no obstacle."""
    for way in _ways(settings):
        with database.begin() as connection:
            account_pk = _account_pk(connection, settings, way)
        if way.is_direct or account_pk not in account_pks:
            continue
        try:
            keep_reading(database, account_pk, provider_for(settings, way))
        except Unusable as error:
            log.warning("the balance was not read: %s", error.message)


def _statement_document(month: Statement) -> dict[str, Any]:
    unit = month.unit
    top_ups = [{"at": rfc3339(at), **_amount(unit, rise)} for at, rise in month.top_ups]
    return {
        "account": month.account,
        "unit": unit,
        "provider": month.origin,
        "begins_at": rfc3339(month.begins),
        "ends_at": rfc3339(month.ends),
        "opening": _amount(unit, month.opening) | {"reading": _reading_document(unit, month.opened_by)},
        "top_ups": {
            **_amount(unit, sum((rise for _, rise in month.top_ups), ZERO)),
            "source": "inferred from balance readings" if unit is Unit.CREDITS else "settled payments",
            "rises": top_ups,
        },
        "charges": _with_usd(unit, month.moved, Book.SPENT),
        "settlement_fees": None if unit is Unit.CREDITS else _amount(unit, month.fees),
        "lost": _with_usd(unit, month.moved, Book.LOST),
        "in_doubt": _with_usd(unit, month.standing, Book.IN_DOUBT),
        "reserved": _with_usd(unit, month.standing, Book.RESERVED),
        "closing": _amount(unit, month.closing),
        "provider_balance": _amount(unit, None if month.told is None else month.told.credits)
        | {"reading": _reading_document(unit, month.told), "booked_after": canonical(month.after)},
        "unexplained": _amount(unit, month.unexplained),
    }


def _amount(unit: Unit, amount: Decimal | None) -> dict[str, str | None]:
    """An amount under its unit; an account of USDC has no credits."""
    told = {unit.value: optional_canonical(amount)}
    return told if unit is Unit.CREDITS else {"credits": None, **told}


def _with_usd(unit: Unit, sums: Sums, book: Book) -> dict[str, str | None]:
    return _amount(unit, sums.of(unit)[book]) | {"usd": canonical(sums.usd[book])}


def _reading_document(unit: Unit, reading: BalanceReading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    return {"at": rfc3339(reading.at), **_amount(unit, reading.credits), "quiet": reading.quiet}
