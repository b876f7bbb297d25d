"""Rules about a text job: what is asked, and how (guide, "Text / LLM Chat Completion Basics").

The guide calls the endpoint compatible with OpenAI's: types and ranges that it does not spell out are that API's.
"""

from decimal import Decimal

from orchestrator.base.diagnostics import Code
from orchestrator.base.money import canonical
from orchestrator.catalog.models import TextModel
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.planner.fields import MAX_TOKENS
from orchestrator.planner.inputs import Inputs
from orchestrator.planner.rules_fields import has_reserved_word
from orchestrator.planner.text_pricing import DEFAULT_MAX_TOKENS, Reserve

Fields = dict[str, Entry]

ROLES = ("system", "developer", "user", "assistant", "tool")
RESPONSE_FORMATS = ("text", "json_object", "json_schema")
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
_PART_KEYS = {"text": frozenset({"type", "text"}), "image_url": frozenset({"type", "image_url"})}
_IMAGE_KEYS = frozenset({"url", "detail"})
_FREE = ("messages", "tools", "tool_choice", "response_format", "reasoning", "stop")
_MOST_TOKENS = 10_000_000


def check_text_fields(node: Mapping, fields: Fields, findings: Findings) -> None:
    """What can be said without the model."""
    _check_question(node, fields, findings)
    _check_stream(fields, findings)
    for name in MAX_TOKENS:
        if name in fields:
            values.whole_number(fields[name].value, name, findings, 1, _MOST_TOKENS)
    for name, (low, high) in RANGES.items():
        if name in fields:
            _check_range(fields[name].value, name, low, high, findings)
    _check_kinds(fields, findings)
    _check_response_format(fields.get("response_format"), findings)
    for name in _FREE:
        if name in fields:
            has_reserved_word(fields[name], name, findings)


def check_text_model(fields: Fields, model: TextModel, inputs: Inputs, findings: Findings) -> None:
    """What the model says about it."""
    pictures = inputs.of("image")
    if pictures and "image" not in model.input_types:
        message = f"{model.name} takes {values_in_words(model.input_types)}, no images"
        findings.error(Code.REFERENCE_IMAGES_UNSUPPORTED, pictures[0].node, message, pictures[0].path)
    most = model.max_output_tokens or model.context_length
    for name in MAX_TOKENS:
        stated = _number(fields[name].value) if name in fields else None
        if stated is not None and stated > most:
            message = f"{model.name} writes at most {most} tokens"
            findings.error(Code.INVALID_VALUE, fields[name].value, message, name)
    _warn_of_feature(fields, "response_format", "Structured output", model, findings)
    _warn_of_feature(fields, "tools", "Tool calling", model, findings)


def warn_of_reserve(node: Mapping, fields: Fields, model: TextModel, reserve: Reserve, findings: Findings) -> None:
    """Says where the reserve rests on something that the guide does not give."""
    place = next((fields[name].value for name in ("messages", "prompt") if name in fields), node)
    if reserve.is_upper_tier:
        message = (
            f"{model.name} is dearer for so many tokens, and the guide does not say by how much; the estimate reserves "
            f"{canonical(reserve.credits)} credits"
        )
        findings.warn(Code.PRICE_UNKNOWN, place, message, "max_tokens")
    elif reserve.is_unbounded:
        message = (
            f"nothing says how long an answer of {model.name} may get; the estimate reserves {DEFAULT_MAX_TOKENS} "
            "tokens, set `max_tokens`"
        )
        findings.warn(Code.PRICE_UNKNOWN, place, message, "max_tokens")


def values_in_words(words: tuple[str, ...]) -> str:
    """`text and image`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _check_question(node: Mapping, fields: Fields, findings: Findings) -> None:
    if "messages" not in fields and "prompt" not in fields:
        findings.error(Code.MISSING_FIELD, node, "a text job needs `messages`, or a `prompt`", "messages")
    elif "messages" in fields and "prompt" in fields:
        message = "a text job takes either `messages` or a `prompt`"
        findings.error(Code.INVALID_VALUE, fields["prompt"].key, message, "prompt")
    if "messages" in fields:
        _check_messages(fields["messages"].value, findings)


def _check_messages(node: Node, findings: Findings) -> None:
    if not isinstance(node, Sequence) or not node.items:
        message = f"`messages` must be a list of messages, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "messages")
        return
    for number, item in enumerate(node.items):
        path = f"messages[{number}]"
        message_node = values.mapping(item, path, findings)
        if message_node is not None:
            _check_message(message_node, path, findings)


def _check_message(node: Mapping, path: str, findings: Findings) -> None:
    _check_keys(node, _MESSAGE_KEYS, path, "a message", findings)
    role = node.entries.get("role")
    if role is None:
        findings.error(Code.MISSING_FIELD, node, "a message needs a `role`", f"{path}.role")
    else:
        _check_word(role.value, ROLES, f"{path}.role", findings)
    content = node.entries.get("content")
    if content is None:
        if "tool_calls" not in node.entries:
            findings.error(Code.MISSING_FIELD, node, "a message needs `content`", f"{path}.content")
    elif isinstance(content.value, Sequence):
        _check_parts(content.value, f"{path}.content", findings)
    elif not isinstance(content.value, Scalar) or not isinstance(content.value.value, str):
        message = f"`content` must be text or a list of parts, it is {values.describe(content.value)}"
        findings.error(Code.INVALID_VALUE, content.value, message, f"{path}.content")


def _check_parts(node: Sequence, path: str, findings: Findings) -> None:
    if not node.items:
        findings.error(Code.INVALID_VALUE, node, "`content` must not be empty", path)
    for index, item in enumerate(node.items):
        part = values.mapping(item, f"{path}[{index}]", findings)
        if part is not None:
            _check_part(part, f"{path}[{index}]", findings)


def _check_part(part: Mapping, path: str, findings: Findings) -> None:
    kind = part.entries.get("type")
    if kind is None:
        findings.error(Code.MISSING_FIELD, part, "a part needs a `type`", f"{path}.type")
        return
    word = _check_word(kind.value, tuple(_PART_KEYS), f"{path}.type", findings)
    if word is None:
        return
    _check_keys(part, _PART_KEYS[word], path, "such a part", findings)
    if word not in part.entries:
        findings.error(Code.MISSING_FIELD, part, f"such a part needs `{word}`", f"{path}.{word}")
    elif word == "text":
        _check_text(part.entries["text"].value, f"{path}.text", findings)
    else:
        _check_image(part.entries["image_url"].value, f"{path}.image_url", findings)


def _check_image(node: Node, path: str, findings: Findings) -> None:
    if not isinstance(node, Mapping):
        message = f"`image_url` must be a mapping with a `url`, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, path)
        return
    hint = "; put it below `url`: {url: {from: ...}}" if "from" in node.entries else ""
    if "url" not in node.entries:
        findings.error(Code.MISSING_FIELD, node, f"`image_url` needs a `url`{hint}", f"{path}.url")
    if not hint:
        _check_keys(node, _IMAGE_KEYS, path, "`image_url`", findings)


def _check_stream(fields: Fields, findings: Findings) -> None:
    entry = fields.get("stream")
    reason = "a batch stores whole answers, and one that is paid for by x402 cannot be streamed"
    if entry is not None and _value(entry.value) is True:
        findings.error(Code.UNSUPPORTED_FIELD, entry.key, f"`stream` cannot be true: {reason}", "stream")
    elif entry is not None and _value(entry.value) is not False:
        message = f"`stream` can only be false, it is {values.describe(entry.value)}"
        findings.error(Code.INVALID_VALUE, entry.value, message, "stream")
    if (options := fields.get("stream_options")) is not None:
        message = f"`stream_options` goes with `stream`: {reason}"
        findings.error(Code.UNSUPPORTED_FIELD, options.key, message, "stream_options")


def _check_range(node: Node, name: str, low: int, high: int, findings: Findings) -> None:
    value = _number(node)
    if value is None or not low <= value <= high:
        message = f"`{name}` must be a number from {low} to {high}, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, name)


def _check_kinds(fields: Fields, findings: Findings) -> None:
    """What is only looked at for its kind; the model's maker says what belongs into it."""
    if "reasoning_effort" in fields:
        values.text(fields["reasoning_effort"].value, "reasoning_effort", findings)
    if "reasoning" in fields:
        values.mapping(fields["reasoning"].value, "reasoning", findings)
    if "parallel_tool_calls" in fields and not isinstance(_value(fields["parallel_tool_calls"].value), bool):
        node = fields["parallel_tool_calls"].value
        message = f"`parallel_tool_calls` must be true or false, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "parallel_tool_calls")
    if "stop" in fields:
        _check_stop(fields["stop"].value, findings)
    if "tools" in fields:
        _check_tools(fields["tools"].value, findings)
    if "tool_choice" in fields and not isinstance(fields["tool_choice"].value, Mapping):
        values.text(fields["tool_choice"].value, "tool_choice", findings)


def _check_stop(node: Node, findings: Findings) -> None:
    for stop in node.items if isinstance(node, Sequence) else [node]:
        _check_text(stop, "stop", findings)


def _check_tools(node: Node, findings: Findings) -> None:
    if not isinstance(node, Sequence) or not node.items:
        message = f"`tools` must be a list of tools, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "tools")
        return
    for number, tool in enumerate(node.items):
        values.mapping(tool, f"tools[{number}]", findings)


def _check_response_format(entry: Entry | None, findings: Findings) -> None:
    node = None if entry is None else values.mapping(entry.value, "response_format", findings)
    if node is None:
        return
    kind = node.entries.get("type")
    if kind is None:
        findings.error(Code.MISSING_FIELD, node, "`response_format` needs a `type`", "response_format.type")
        return
    word = _check_word(kind.value, RESPONSE_FORMATS, "response_format.type", findings)
    if word == "json_schema":
        schema = node.entries.get("json_schema")
        if schema is None:
            message = "`response_format` needs its `json_schema`"
            findings.error(Code.MISSING_FIELD, node, message, "response_format.json_schema")
        else:
            values.mapping(schema.value, "response_format.json_schema", findings)


def _warn_of_feature(fields: Fields, name: str, feature: str, model: TextModel, findings: Findings) -> None:
    """What a model can do is a list of words: a missing one is no proof."""
    if name in fields and model.features and feature not in model.features:
        message = f"{model.name} is not said to have {feature.lower()}"
        findings.warn(Code.UNSUPPORTED_FIELD, fields[name].key, message, name)


def _check_keys(node: Mapping, known: frozenset[str], path: str, what: str, findings: Findings) -> None:
    for name, entry in node.entries.items():
        if name not in known:
            message = f"{what} has no field `{values.shorten(name)}`{did_you_mean(name, known)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, f"{path}.{name}")


def _check_word(node: Node, words: tuple[str, ...], path: str, findings: Findings) -> str | None:
    value = _value(node)
    if isinstance(value, str) and value in words:
        return value
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    name = path.rpartition(".")[2]
    message = f"`{name}` must be one of {', '.join(words)}, it is {values.describe(node)}{hint}"
    findings.error(Code.INVALID_VALUE, node, message, path)
    return None


def _check_text(node: Node, path: str, findings: Findings) -> None:
    if not isinstance(_value(node), str):
        name = path.rpartition(".")[2]
        message = f"`{name}` must be text, it is {values.describe(node)}; put it in quotes"
        findings.error(Code.INVALID_VALUE, node, message, path)


def _value(node: Node) -> str | int | Decimal | bool | None:
    return node.value if isinstance(node, Scalar) else None


def _number(node: Node) -> int | Decimal | None:
    value = _value(node)
    return None if isinstance(value, bool) or not isinstance(value, int | Decimal) else value
