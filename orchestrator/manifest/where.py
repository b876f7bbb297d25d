"""`where`: which rows become jobs."""

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.core_schema import resolve
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Node, Scalar, Sequence
from orchestrator.manifest.rows import Rows, SourceRow
from orchestrator.manifest.suggest import did_you_mean

Wanted = dict[str, list[object]]


def select(rows: Rows, entry: Entry | None, findings: Findings) -> list[SourceRow] | None:
    """The rows whose columns have the values of `where`; None after reporting why it cannot be used.

    A row that cannot be read far enough to tell is selected, so that its fault is seen.
    """
    if entry is None:
        return rows.rows
    node = values.mapping(entry.value, "where", findings)
    if node is None:
        return None
    wanted: Wanted = {}
    for name, condition in node.entries.items():
        found = _wanted(name, condition.value, findings)
        if found is None or not _is_column(name, condition, rows, findings):
            return None
        wanted[name] = found
    return [row for row in rows.rows if _matches(row, wanted)]


def _wanted(name: str, node: Node, findings: Findings) -> list[object] | None:
    """The values that a column may have: one, or a list of them."""
    items = node.items if isinstance(node, Sequence) else [node]
    scalars = [item.value for item in items if isinstance(item, Scalar)]
    if items and len(scalars) == len(items):
        return list(scalars)
    message = f"`where.{name}` must be a value or a list of values, it is {values.describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, f"where.{name}")
    return None


def _is_column(name: str, condition: Entry, rows: Rows, findings: Findings) -> bool:
    if name in rows.columns or not rows.columns:
        return True
    known = sorted(rows.columns)
    message = f"the rows have no column `{values.shorten(name)}`{did_you_mean(name, known)}"
    findings.error(Code.UNKNOWN_FIELD, condition.key, message, f"where.{name}")
    return False


def _matches(row: SourceRow, wanted: Wanted) -> bool:
    for name, accepted in wanted.items():
        if name not in row.variables:
            if row.fault is None and not {None, ""}.intersection(accepted):
                return False
        elif not any(_equal(row.variables[name], value) for value in accepted):
            return False
    return True


def _equal(cell: object, wanted: object) -> bool:
    """Text is compared as text, without spaces around it; `true` and `3` also match cells that read so."""
    if isinstance(cell, str):
        cell = cell.strip()
        if wanted is None:
            return cell == ""
        if not isinstance(wanted, str):
            found = resolve(cell)
            return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted
        return cell == wanted.strip()
    return isinstance(cell, bool) == isinstance(wanted, bool) and cell == wanted
