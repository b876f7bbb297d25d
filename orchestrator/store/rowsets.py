"""Rows that a statement is given as one parameter: what a transaction changes of many rows is one statement."""

from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, TableValuedAlias, Text, Uuid, any_, bindparam, column, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

__all__ = ["BIG", "IDS", "INSTANT", "INT", "JSON", "PKS", "TEXT", "UUID_", "rowset"]

BIG, INT, TEXT, UUID_ = BigInteger(), Integer(), Text(), Uuid()
INSTANT, JSON = DateTime(timezone=True), JSONB(none_as_null=True)
#: `column == IDS`: it is one of the UUIDs of the parameter `ids`.
IDS = any_(bindparam("ids", type_=ARRAY(Uuid())))
#: `column == PKS`: it is one of the numbers of the parameter `pks`.
PKS = any_(bindparam("pks", type_=ARRAY(BigInteger())))


def rowset(**columns: TypeEngine[Any]) -> TableValuedAlias:
    """The rows of the parameter `rows`: a list of JSON objects with these columns; what one lacks is null.

    Exact amounts and UUIDs are given as text.
    """
    given = func.jsonb_to_recordset(bindparam("rows", type_=JSONB()))
    return given.table_valued(*(column(name, kind) for name, kind in columns.items())).render_derived(with_types=True)
