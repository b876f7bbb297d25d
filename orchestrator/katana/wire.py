"""The provider's JSON, read tolerantly: unknown fields are allowed, missing ones are None.

Shapes from the guide, "Image / Video Response Format". Numbers that are money or counts arrive as strings.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.base.money import parse_amount


def _text_or_none(value: object) -> str | None:
    """An empty string means absent (guide: `final_frame_image_url` may be blank)."""
    return value if isinstance(value, str) and value.strip() else None


def _amount_or_none(value: object) -> Decimal | None:
    try:
        return parse_amount(str(value) if isinstance(value, float) else value)
    except ValueError:
        return None


def _seconds_or_none(value: object) -> float | None:
    amount = _amount_or_none(value)
    return None if amount is None else float(amount)


def _count_or_none(value: object) -> int | None:
    amount = _amount_or_none(value)
    return None if amount is None else int(amount)


def _list_or_empty(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _instant_or_none(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


Text = Annotated[str | None, BeforeValidator(_text_or_none)]
Amount = Annotated[Decimal | None, BeforeValidator(_amount_or_none)]
Seconds = Annotated[float | None, BeforeValidator(_seconds_or_none)]
Count = Annotated[int | None, BeforeValidator(_count_or_none)]
Instant = Annotated[datetime | None, BeforeValidator(_instant_or_none)]
Status = Annotated[Text, AfterValidator(lambda word: word.strip().lower() if word else None)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Metadata(_Wire):
    """`credits_spent` of an item or a request, and the CLIP tags of an asset."""

    credits_spent: Amount = None
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
    output_assets: Annotated[list[OutputAsset], BeforeValidator(_list_or_empty)] = Field(default_factory=list)
    metadata: MetadataField = Field(default_factory=Metadata)
    error: Any = None


class Answer(_Wire):
    """The provider's word on a whole request."""

    request_id: Text = None
    status: Status = None
    responses: Annotated[list[Item], BeforeValidator(_list_or_empty)] = Field(default_factory=list)
    poll_after_seconds: Seconds = None
    metadata: MetadataField = Field(default_factory=Metadata)
    error: Any = None

    @property
    def is_rejected(self) -> bool:
        """Whether all of it was rejected by validation, which is not charged (guide, "Main Generation Endpoint")."""
        words = {item.status for item in self.responses} or {self.status}
        return words == {"rejected"}


class Balance(_Wire):
    """The account's credits (guide, "Credits / API key examples")."""

    credits: Amount = None


def build_body(items: list[dict[str, Any]]) -> bytes:
    """The exact bytes of a submission; the same items always give the same bytes."""
    return json.dumps(
        {"requests": items}, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


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
    except (ValueError, RecursionError):
        return None
    return _storable(document) if isinstance(document, dict) else None


def _storable(value: Any) -> Any:
    """The value without what no database text can hold: NUL characters and lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_storable(entry) for entry in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(entry) for key, entry in value.items()}
    return value
