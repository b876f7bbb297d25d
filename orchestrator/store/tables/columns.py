"""What the tables are made of: the base of a row, the kinds of their columns, and constraints that many have."""

from enum import StrEnum
from typing import Any, cast

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKey, Identity, Index, Numeric, Table, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

#: Credits, USDC and US dollars: exact, with the six decimals that USDC has.
MONEY = Numeric(20, 6)
#: Who works here, as each connection says it at its start.
CURRENT_ACTOR = text("nullif(current_setting('orchestrator.actor', true), '')")
#: A share of one, such as 0.05 for 5 %.
SHARE = Numeric(7, 6)


class Row(SQLModel):
    """Without pydantic's validators: they would never run, and to build them takes longer than all else here."""

    model_config = {"defer_build": True}


def table_of(row: type[Row]) -> Table:
    """The SQLAlchemy table behind a row class, for Core statements."""
    return cast(Table, row.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


def row_key() -> Any:
    return Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))


def reference(target: str, *, nullable: bool = False, key: bool = False) -> Any:
    return Field(default=None, sa_column=Column(ForeignKey(target), nullable=nullable, primary_key=key))


def instant(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=nullable))


def money(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(MONEY, nullable=nullable))


def document(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(JSONB(none_as_null=True), nullable=nullable))


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def due_index(name: str, state: str, *columns: str) -> Index:
    """A partial index in the order in which rows of one state are claimed."""
    return Index(name, *columns, postgresql_where=text(f"state = '{state}'"))
