"""`{{ }}`: names, their attributes and filters, and nothing else. The only file that imports jinja2.

Jinja's sandbox, with the language in it reduced while compiling: what is left cannot call, count or loop.
"""

from collections.abc import Callable, Iterator, Set
from decimal import Decimal
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes, pass_eval_context
from jinja2.filters import do_join, do_replace
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

Variables = dict[str, Any]

FILTERS = (
    "abs",
    "capitalize",
    "d",
    "default",
    "first",
    "float",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "string",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
)
"""Filters that give the same result every night."""
MAX_CHARACTERS = 32 * 1024 * 1024
"""Of the text that a template gives, and of what a filter makes longer."""
_DEFAULTING = ("d", "default")
_REFUSED = {
    nodes.Call: "calls",
    nodes.And: "conditions",
    nodes.Or: "conditions",
    nodes.Not: "conditions",
    nodes.BinExpr: "arithmetic",
    nodes.UnaryExpr: "arithmetic",
    nodes.Concat: "arithmetic",
    nodes.Compare: "comparisons",
    nodes.Test: "tests",
    nodes.CondExpr: "conditions",
    nodes.Getitem: "computed entries",
    nodes.Literal: "constants",
    nodes.For: "loops",
    nodes.If: "conditions",
}


class TemplateFault(Exception):
    """Why a template cannot be used at all, or cannot be filled in with these variables."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class MissingName(TemplateFault):
    """A name that must be known is not."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name}` is not known here")
        self.name = name


class _Environment(SandboxedEnvironment):
    """Values keep their types (NativeCodeGenerator), and an attribute is an item of a mapping, never Python's own."""

    code_generator_class = NativeCodeGenerator

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict | list):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        elif isinstance(obj, Undefined):
            raise _unknown(obj)
        return self.undefined(f"there is no entry `{argument}`", obj=obj, name=argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)


# Only `{{ }}` and `{% %}` are Jinja's here, the latter to be refused; `{#fff}` is text. (NUL is refused everywhere.)
_environment = _Environment(
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    comment_start_string="\0{#",
    comment_end_string="#}\0",
)


@pass_eval_context
def _replace(context: nodes.EvalContext, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Jinja's filter, which a few in a row would make text of any length with."""
    text = str(value)
    _check_length(len(text) + text.count(str(old)) * len(str(new)))
    return do_replace(context, text, old, new, count)


@pass_eval_context
def _join(context: nodes.EvalContext, value: Any, d: Any = "", attribute: str | int | None = None) -> Any:
    """Jinja's filter; it joins the characters of a text, too."""
    items = list(value)
    _check_length(len(items) * (1 + len(str(d))))
    return do_join(context, items, str(d), attribute)


_environment.filters |= {"replace": _replace, "join": _join}


class Scope:
    """The variables that templates are filled in with; it may be used for many templates."""

    __slots__ = ("_context", "variables")

    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        self._context: Context | None = None

    @property
    def context(self) -> Context:
        """The variables as Jinja takes them, made when the first template asks for them."""
        if self._context is None:
            self._context = Context(_environment, self.variables, None, {})
        return self._context


class Template:
    """A compiled template. `names` are all that it uses, `required` those of them that must be known.

    One that `is_whole` is one `{{ }}` and nothing else.
    """

    __slots__ = ("_arguments", "_format", "_names", "_render", "is_whole", "names", "required")

    def __init__(self, text: str) -> None:
        """Raises TemplateFault for anything but names, attributes and filters."""
        try:
            tree = _environment.parse(text)
            _check(tree)
            compiled = _environment.from_string(tree)
        except TemplateSyntaxError as error:
            message = (error.message or "").replace("'end of print statement'", "`}}`").rstrip(".")
            raise TemplateFault(f"the template cannot be read: {message}") from None
        except RecursionError:
            raise TemplateFault("the template is nested too deeply") from None
        self._render: Callable[[Context], Iterator[Any]] = compiled.root_render_func
        self._format, self._arguments = _format(tree)
        self._names = _names(tree)
        self.is_whole = len(self._names) == 1 and bool(self._names[0])
        self.names = frozenset[str]().union(*self._names)
        self.required = frozenset(_required(tree))

    def fill(self, scope: Scope) -> Any:
        """The text; a template that is one `{{ }}` gives the value itself.

        Raises MissingName where a name is not known that must be, TemplateFault for whatever else cannot be filled in.
        """
        try:
            if self._format is None:
                return self._rendered(scope)
            values = [scope.variables[name] for name in self._arguments]
            return values[0] if self.is_whole else _short(self._format % tuple(map(text_of, values)))
        except KeyError:
            raise MissingName(min(self.required - scope.variables.keys())) from None

    def head(self, scope: Scope, names: Set[str]) -> str:
        """The text before the first part that uses one of `names`. What can be filled in has one."""
        first = next((index for index, used in enumerate(self._names) if not names.isdisjoint(used)), None)
        return "".join(map(text_of, islice(self._render(scope.context), first)))

    def _rendered(self, scope: Scope) -> Any:
        if missing := self.required - scope.variables.keys():
            raise MissingName(min(missing))
        try:
            parts = list(self._render(scope.context))
            return _value(parts[0]) if self.is_whole else _short("".join(map(text_of, parts)))
        except TemplateFault:
            raise
        except Exception as error:  # noqa: BLE001 - a filter may raise anything for a value that it is not made for
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TemplateFault(f"the template cannot be filled in: {reason}") from None


@lru_cache(maxsize=10_000)  # a default's template is that of every job
def template_of(text: str) -> Template:
    """The compiled template; raises TemplateFault for anything but names, attributes and filters."""
    return Template(text)


def is_template(text: object) -> bool:
    """Whether a value is text that a template could be in."""
    return isinstance(text, str) and ("{{" in text or "{%" in text)


def text_of(value: Any) -> str:
    """A variable's value as part of a text; raises TemplateFault for what is no text."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Decimal):
        return str(value)
    if isinstance(value, list):
        raise TemplateFault("a list stands where text is needed; use the filter `join`")
    if isinstance(value, dict):
        raise TemplateFault("a mapping stands where text is needed; name one of its entries")
    return str(_value(value))


def _short(text: str) -> str:
    _check_length(len(text))
    return text


def _check_length(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        raise TemplateFault(f"the template gives text that is longer than {MAX_CHARACTERS // 1024**2} MiB")


def _value(value: Any) -> Any:
    if isinstance(value, Undefined):
        raise _unknown(value)
    return value


def _unknown(value: Undefined) -> TemplateFault:
    return TemplateFault(value._undefined_hint or f"`{value._undefined_name}` is not known here")


def _format(tree: nodes.Template) -> tuple[str | None, tuple[str, ...]]:
    """A template of names alone, as most are, as a `%` format and these names: Jinja is slow to begin."""
    texts: list[str] = []
    arguments: list[str] = []
    for part in (part for output in tree.find_all(nodes.Output) for part in output.nodes):
        if isinstance(part, nodes.TemplateData):
            texts.append(part.data.replace("%", "%%"))
        elif isinstance(part, nodes.Name):
            texts.append("%s")
            arguments.append(part.name)
        else:
            return None, ()
    return "".join(texts), tuple(arguments)


def _names(tree: nodes.Template) -> list[frozenset[str]]:
    """The names in each part of what is rendered: a `{{ }}`, or the text between two of them."""
    parts = [nodes.Output([part]) for output in tree.find_all(nodes.Output) for part in output.nodes]
    found: list[frozenset[str]] = []
    for is_text, group in groupby(parts, lambda part: isinstance(part.nodes[0], nodes.TemplateData)):
        named = [frozenset(name.name for name in part.find_all(nodes.Name)) for part in group]
        found += [frozenset()] if is_text else named
    return found


def _required(node: nodes.Node) -> Iterator[str]:
    """The names under `node` that no `default` stands in for."""
    if isinstance(node, nodes.Name):
        yield node.name
    elif not (isinstance(node, nodes.Filter) and node.name in _DEFAULTING and isinstance(node.node, nodes.Name)):
        for child in node.iter_child_nodes():
            yield from _required(child)


def _check(tree: nodes.Template) -> None:
    for statement in tree.body:
        if not isinstance(statement, nodes.Output):
            raise _refusal(statement)
        for part in statement.nodes:
            if not isinstance(part, nodes.TemplateData):
                _check_expression(part)


def _check_expression(node: nodes.Expr) -> None:
    if isinstance(node, nodes.Name):
        if node.name == "self":
            raise TemplateFault("`self` is a word of the template language; write `row['self']` for a column's name")
    elif isinstance(node, nodes.Getattr) or (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const)):
        _check_expression(node.node)
    elif isinstance(node, nodes.Filter) and node.node is not None:
        _check_filter(node)
        _check_expression(node.node)
    else:
        raise _refusal(node)


def _check_filter(node: nodes.Filter) -> None:
    if node.name not in FILTERS:
        raise TemplateFault(f"there is no filter `{node.name}`; there are {', '.join(FILTERS)}")
    arguments = [*node.args, *(pair.value for pair in node.kwargs)]
    if node.dyn_args or node.dyn_kwargs or not all(isinstance(argument, nodes.Const) for argument in arguments):
        raise TemplateFault(f"the filter `{node.name}` takes constants only")


def _refusal(node: nodes.Node) -> TemplateFault:
    what = next((word for kind, word in _REFUSED.items() if isinstance(node, kind)), "statements")
    return TemplateFault(f"a template holds names, attributes and filters, no {what}")
