"""The body of a chat completion: what makes it wrong, what it asks for, and what is set aside for it.

Source: guide, "Text / LLM Chat Completion Basics" and "Text billing rules". How the provider counts the tokens of a
prompt beforehand it does not say; the stand-in takes four characters for one, and a thousand for a picture.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal

from pydantic_core import from_json

from orchestrator.base.payments import ATOMIC, USDC_PER_CREDIT
from orchestrator.catalog.models import Catalog, TextModel
from orchestrator.sandbox.media import Refused, read_picture
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Price

MINIMUM_RESERVE = Decimal(10)
MINIMUM_CHARGE = Decimal("0.1")
_DEFAULT_MAX_TOKENS = 16_000
_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_PICTURE = 1000
_TENTH = Decimal("0.1")
_MILLION = 1_000_000
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


@dataclass(frozen=True, slots=True)
class Question:
    """A chat completion that can be answered. `prompt` is all text in it, `last` that of its last message."""

    model: TextModel
    prompt: str
    last: str
    prompt_tokens: int
    max_tokens: int
    response_format: Mapping[str, object] = field(default_factory=dict)

    def reserve(self, factor: Decimal = Decimal(1)) -> Decimal:
        """The credits that are set aside before it is asked."""
        return max(self._cost(self.prompt_tokens, self.max_tokens, factor), MINIMUM_RESERVE)

    def cost(self, answer_tokens: int, factor: Decimal = Decimal(1)) -> Decimal:
        """The credits that so long an answer costs in the end."""
        return max(self._cost(self.prompt_tokens, answer_tokens, factor), MINIMUM_CHARGE)

    def _cost(self, prompt_tokens: int, answer_tokens: int, factor: Decimal) -> Decimal:
        read = prompt_tokens * self.model.credits_per_million_input
        written = answer_tokens * self.model.credits_per_million_output
        return ((read + written) * factor / _MILLION).quantize(_TENTH, ROUND_UP)


def price_of(credit_amount: Decimal) -> Price:
    """Credits with the USDC that the provider takes for them."""
    return Price(credit_amount, (credit_amount * USDC_PER_CREDIT).quantize(ATOMIC, ROUND_UP))


def read_question(body: bytes, content_type: str, catalog: Catalog, own_origin: str) -> Question:
    """What a body asks. Raises Problem 400 or 415."""
    if content_type != "application/json":
        raise Problem(415, "unsupported_media_type", "send Content-Type: application/json")
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Problem(400, "invalid_json", "the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Problem(400, "invalid_request", "the body must be a JSON object")
    try:
        return _read(document, catalog, own_origin)
    except Refused as refused:
        raise Problem(400, refused.code, refused.message) from None


def _read(document: Mapping[str, object], catalog: Catalog, own_origin: str) -> Question:
    model = catalog.get(str(document.get("model")))
    if not isinstance(model, TextModel):
        raise Refused("unknown_model", f"no text model named {document.get('model')!r}")
    if document.get("stream"):
        raise Refused("unsupported_field", "the sandbox does not stream")
    texts: list[str] = []
    pictures = 0
    for part in _parts(document):
        if isinstance(part, str):
            texts.append(part)
        elif "image" not in model.input_types:
            raise Refused("unsupported_input", f"{model.name} takes no images")
        else:
            read_picture(part["url"], "image_url.url", own_origin)
            pictures += 1
    prompt = "\n".join(texts)
    return Question(
        model=model,
        prompt=prompt,
        last=texts[-1] if texts else "",
        prompt_tokens=-(-len(prompt) // _CHARACTERS_PER_TOKEN) + pictures * _TOKENS_PER_PICTURE,
        max_tokens=_max_tokens(document, model),
        response_format=_response_format(document),
    )


def _parts(document: Mapping[str, object]) -> Iterator[str | Mapping[str, object]]:
    """Every text and every `image_url` of all messages; a `prompt` is one message of a user."""
    messages = document.get("messages")
    if messages is None and isinstance(document.get("prompt"), str):
        messages = [{"role": "user", "content": document["prompt"]}]
    if not isinstance(messages, list) or not messages:
        raise Refused("missing_field", "messages must be a non-empty array")
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise Refused("invalid_value", "each message needs a role")
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (_part(part) for part in content)
        elif "tool_calls" not in message:
            raise Refused("invalid_value", "content must be a string or an array of parts")


def _part(part: object) -> str | Mapping[str, object]:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    image = part.get("image_url") if isinstance(part, dict) and part.get("type") == "image_url" else None
    if isinstance(image, dict) and "url" in image:
        return image
    raise Refused("invalid_value", "a part is a text, or an image_url with a url")


def _max_tokens(document: Mapping[str, object], model: TextModel) -> int:
    stated = [document[name] for name in ("max_tokens", "max_completion_tokens") if document.get(name) is not None]
    numbers = [number for number in stated if isinstance(number, int) and not isinstance(number, bool) and number > 0]
    if len(numbers) < len(stated):
        raise Refused("invalid_value", "max_tokens must be a positive whole number")
    most = max(numbers, default=_DEFAULT_MAX_TOKENS)
    if model.max_output_tokens is not None and most > model.max_output_tokens:
        if numbers:
            raise Refused("invalid_value", f"{model.name} writes at most {model.max_output_tokens} tokens")
        return model.max_output_tokens
    return most


def _response_format(document: Mapping[str, object]) -> Mapping[str, object]:
    wanted = document.get("response_format")
    if wanted is None:
        return {}
    if not isinstance(wanted, dict) or wanted.get("type") not in ("text", "json_object", "json_schema"):
        raise Refused("invalid_value", "response_format.type must be text, json_object or json_schema")
    return wanted
