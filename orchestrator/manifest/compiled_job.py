"""What is the same for all rows of a job: its templates compiled, its inheritance settled."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.filling import Compiler, Fill, has_template
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import EXPANDING_KEYS, JobDefaults, entries_of, read_extra, read_id
from orchestrator.manifest.job_template import JobTemplate
from orchestrator.manifest.nodes import Entry, Mapping, Place, Scalar, native, scalars
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.templates import TemplateFault, is_template, template_of

ROW = "row"
"""The variable that holds all columns, for those whose names are no words: `row['Product name']`."""
_TEXTS = frozenset({"id", "labels", "prompt"})
"""Keys whose values are text, whatever a variable is."""


@dataclass(frozen=True, slots=True)
class MatrixValue:
    """One value of the matrix: a variable, and a field of the job where it `is_field`."""

    variable: Any
    entry: Entry
    is_field: bool
    fill: Fill | None


@dataclass(frozen=True, slots=True)
class CompiledJob:
    """Everything about a job that is the same for all its rows; `labels` and `extra` where nothing is filled in."""

    node: Mapping
    variables: dict[str, Any]
    entries: dict[str, Entry]
    fills: dict[str, Fill]
    defaults: dict[str, Entry]
    default_fills: dict[str, Fill]
    matrix: dict[str, list[MatrixValue]]
    labels: dict[str, str]
    extra: dict[str, Entry]
    filled: frozenset[Place]
    of_row: frozenset[Place]

    def combinations(self) -> Iterator[dict[str, MatrixValue]]:
        """Every combination; the last key of the matrix changes fastest."""
        for chosen in itertools.product(*self.matrix.values()):
            yield dict(zip(self.matrix, chosen, strict=True))


def compile_job(
    template: JobTemplate, setting: Setting, defaults: JobDefaults, origin: str | None, findings: Findings
) -> CompiledJob | None:
    """None after reporting what is wrong with the job whatever its rows say. `origin` is the first of them."""
    compiler = _compiler(template, setting, findings.for_job(findings.job, origin))
    entries = {name: entry for name, entry in template.node.entries.items() if name not in EXPANDING_KEYS}
    errors_before = len(findings.errors)
    _inherit(entries, "labels", defaults.label_entries, findings)
    _inherit(entries, "extra", defaults.extra, findings)
    fills = _fills(compiler, entries)
    matrix = {name: _matrix_values(name, found, entries, setting, compiler) for name, found in template.matrix.items()}
    given = entries.keys() | (matrix.keys() & setting.fields.names)
    inherited = {
        name: entry for name, entry in defaults.fields.items() if name not in given and has_template([entry.value])
    }
    default_fills = _fills(compiler, inherited)
    _check_id(entries.get("id"), template, findings)
    labels = {} if "labels" in fills else values.labels(entries.get("labels"), findings)
    extra = {} if "extra" in fills else read_extra(entries.get("extra"), findings)
    if len(findings.errors) > errors_before:
        return None
    return CompiledJob(
        node=template.node,
        variables=setting.variables or {},
        entries=entries,
        fills=fills,
        defaults=inherited,
        default_fills=default_fills,
        matrix=matrix,
        labels=labels,
        extra=extra,
        filled=frozenset(compiler.filled),
        of_row=frozenset(compiler.of_row),
    )


def _compiler(template: JobTemplate, setting: Setting, findings: Findings) -> Compiler:
    columns = frozenset() if template.rows is None else template.columns | {ROW}
    known = columns | template.matrix.keys() | (setting.variables or {}).keys()
    made_of_rows = frozenset(name for name, found in template.matrix.items() if _uses(columns, found))
    return Compiler(known, columns - template.matrix.keys() | made_of_rows, findings)


def _uses(columns: frozenset[str], found: list[Entry]) -> bool:
    """Whether a template in these values takes something of a row. One that cannot be read is reported elsewhere."""
    for text in (scalar.value for entry in found for scalar, _ in scalars(entry.value, "")):
        with suppress(TemplateFault):
            if is_template(text) and not columns.isdisjoint(template_of(str(text)).names):
                return True
    return False


def _fills(compiler: Compiler, entries: dict[str, Entry]) -> dict[str, Fill]:
    fills = {name: compiler.compile(entry.value, name, as_text=name in _TEXTS) for name, entry in entries.items()}
    return {name: fill for name, fill in fills.items() if fill}


def _inherit(entries: dict[str, Entry], name: str, inherited: dict[str, Entry], findings: Findings) -> None:
    """Puts what a mapping of the job inherits into it."""
    own = entries.get(name)
    if inherited and (own is None or isinstance(own.value, Mapping)):
        first = next(iter(inherited.values())).key
        key = own.key if own else Scalar(name, first.line, first.column)
        entries[name] = Entry(key, Mapping({**inherited, **entries_of(own)}, key.line, key.column))


def _matrix_values(
    name: str, found: list[Entry], entries: dict[str, Entry], setting: Setting, compiler: Compiler
) -> list[MatrixValue]:
    """A value that is a provider's field also sets it, unless the job does."""
    is_field = name in setting.fields.names and name not in entries
    return [
        MatrixValue(native(entry.value), entry, is_field, compiler.compile(entry.value, f"matrix.{name}"))
        for entry in found
    ]


def _check_id(entry: Entry | None, template: JobTemplate, findings: Findings) -> None:
    """An id that cannot differ from job to job."""
    text = entry.value.value if entry and isinstance(entry.value, Scalar) else None
    if entry is None or not isinstance(text, str):
        read_id(entry, template.node, findings)
        return
    try:
        names = template_of(text).names if is_template(text) else frozenset()
    except TemplateFault:
        return  # reported where it was compiled
    changing = [name for name, found in template.matrix.items() if len(found) > 1]
    same = [f"every value of `{name}`; put {{{{ {name} }}}} in it" for name in changing if name not in names]
    if template.rows and len(template.rows) > 1 and names.isdisjoint(template.columns | {ROW}):
        same.append("every row; put a column in it, such as {{ sku }}")
    if same:
        findings.error(Code.DUPLICATE_JOB_ID, entry.value, f"`id` is the same for {same[0]}", "id")
