"""The provider's JSON, read tolerantly: unknown fields are allowed, missing ones are None.

Shapes from the guide, "Image / Video Response Format". Numbers that are money or counts arrive as strings.
"""

import json
import math
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.base.money import parse_amount

#: A longer request id is none: it has to fit into an index.
_LONGEST_ID = 500
#: No amount of the provider's is anywhere near it; the columns for money hold less than 10^14.
_ABSURD_AMOUNT = Decimal(10) ** 12
_SMALLEST_AMOUNT = Decimal("0.000001")


def _text_or_none(value: object) -> str | None:
    """An empty string means absent (guide: `final_frame_image_url` may be blank)."""
    return value if isinstance(value, str) and value.strip() else None


def _amount_or_none(value: object) -> Decimal | None:
    try:
        amount = parse_amount(str(value) if isinstance(value, float) else value)
    except ValueError:
        return None
    return amount.quantize(_SMALLEST_AMOUNT, rounding=ROUND_UP) if amount < _ABSURD_AMOUNT else None


def _seconds_or_none(value: object) -> float | None:
    amount = _amount_or_none(value)
    return None if amount is None else float(amount)


def _list_or_empty(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[Any]:
    """A list of objects; what is none becomes an empty one, so that the others keep their positions."""
    return [_dict_or_empty(entry) for entry in _list_or_empty(value)]


def _dict_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _instant_or_none(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


Text = Annotated[str | None, BeforeValidator(_text_or_none)]
Amount = Annotated[Decimal | None, BeforeValidator(_amount_or_none)]
Seconds = Annotated[float | None, BeforeValidator(_seconds_or_none)]
Instant = Annotated[datetime | None, BeforeValidator(_instant_or_none)]
Status = Annotated[Text, AfterValidator(lambda word: word.strip().lower() if word else None)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Metadata(_Wire):
    """`credits_spent` (or USDC) of an item or a request, and the CLIP tags of an asset."""

    credits_spent: Amount = None
    usdc_spent: Amount = Field(default=None, validation_alias=AliasChoices("usdc_spent", "paid_usdc", "spent_usdc"))
    model: Text = None
    tags: Annotated[list[Any], BeforeValidator(_list_or_empty)] = Field(default_factory=list)


MetadataField = Annotated[Metadata, BeforeValidator(_dict_or_empty)]


class OutputAsset(_Wire):
    """One file of a finished item. `original_data_url` is the deliverable, `url` may be a preview."""

    kind: Text = None
    mime_type: Text = None
    url: Text = None
    original_data_url: Text = None
    thumbnail_image_url: Text = None
    thumbnail_silent_video_mp4_url: Text = None
    final_frame_image_url: Text = None
    expires_at: Instant = None
    metadata: MetadataField = Field(default_factory=Metadata)

    @property
    def source(self) -> str | None:
        """Where the full-quality file is (guide, "Response handling rules")."""
        return self.original_data_url or self.url


class Item(_Wire):
    """The provider's word on one item of a request."""

    job_id: Text = None
    type: Text = None
    status: Status = None
    output_assets: Annotated[list[OutputAsset], BeforeValidator(_objects)] = Field(default_factory=list)
    started_at: Instant = None
    completed_at: Instant = None
    metadata: MetadataField = Field(default_factory=Metadata)
    error: Any = None

    @property
    def generation_seconds(self) -> float | None:
        """How long it was worked on (guide: "item-level processing timestamps"), in whole seconds; None where that
        is not told, or was less than one.
        """
        if self.started_at is None or self.completed_at is None or self.completed_at <= self.started_at:
            return None
        return (self.completed_at - self.started_at).total_seconds()


class Answer(_Wire):
    """The provider's word on a whole request."""

    request_id: Annotated[Text, AfterValidator(lambda word: word if word and len(word) <= _LONGEST_ID else None)] = None
    status: Status = None
    created_at: Instant = None
    requests: Annotated[list[dict[str, Any]], BeforeValidator(_objects)] = Field(default_factory=list)
    responses: Annotated[list[Item], BeforeValidator(_objects)] = Field(default_factory=list)
    poll_after_seconds: Seconds = None
    metadata: MetadataField = Field(default_factory=Metadata)
    error: Any = None

    def is_rejected(self, item_count: int) -> bool:
        """Whether validation rejected all its items, which is not charged (guide, "Main Generation Endpoint")."""
        words = [item.status for item in self.responses] or [self.status] * item_count
        return words == ["rejected"] * item_count


class Balance(_Wire):
    """The account's credits (guide, "Credits / API key examples")."""

    credits: Amount = None


def build_body(items: list[dict[str, Any]]) -> bytes:
    """The exact bytes of a submission; the same items always give the same bytes."""
    return json.dumps(
        {"requests": items}, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def build_chat_body(item: dict[str, Any]) -> bytes:
    """The exact bytes that ask for a text; the endpoint tells that it is one."""
    asked = {name: value for name, value in item.items() if name != "type"}
    return json.dumps(asked, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def parse_answer(body: bytes) -> Answer | None:
    """The answer in a response body, or None where it is not one."""
    document = parse_object(body)
    if document is None:
        return None
    try:
        return Answer.model_validate(document)
    except ValueError:
        return None


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a response body, or None where it is anything else (HTML, a list, cut short)."""
    try:
        document = json.loads(body)
        return _storable(document) if isinstance(document, dict) else None
    except (ValueError, RecursionError):
        return None


def _storable(value: Any) -> Any:
    """The value without what the database cannot hold: NUL characters, lone surrogates, NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_storable(entry) for entry in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(entry) for key, entry in value.items()}
    return value
