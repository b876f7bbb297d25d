"""The catalogue's data: one frozen model per type, and the catalogue that holds them.

The field names are the public ones of the interface's `models` document, so that a document, the bundled
snapshot and the copy that a batch keeps are the same thing.
"""

import hashlib
import json
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from orchestrator.base.money import canonical, parse_amount

Amount = Annotated[Decimal, BeforeValidator(parse_amount), PlainSerializer(canonical, return_type=str)]
"""An exact amount of credits or US dollars; a canonical string in JSON."""

CustomRule = Literal[
    "audio_15s_max",
    "audio_drives_duration",
    "audio_ff_only",
    "audio_needs_reference_image",
    "audio_or_fflf_exclusive",
    "lf_needs_ff",
    "reference_ff_only",
    "reference_is_voice_timbre",
    "reference_no_ff_or_lf",
]
"""Guide, "Video Custom Rule Glossary"."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    def document(self) -> dict[str, Any]:
        """The interface's `models` entry."""
        return self.model_dump(mode="json")


class ImageModel(_Model):
    """An image model: one price an image. `creator` is "imgnAI" for the provider's own models."""

    name: str
    display_name: str
    type: Literal["image"] = "image"
    creator: str | None
    credits: Amount
    usd: Amount | None = None
    aspect_ratios: tuple[str, ...]
    max_reference_images: int
    requires_image: bool
    output_formats: tuple[str, ...] = ("png", "jpeg", "webp")
    x402: bool = True
    features: tuple[str, ...] = ()
    thumbnail: str | None = None
    description: str = ""
    model_key: str | None = None

    @property
    def is_in_house(self) -> bool:
        """Whether imgnAI hosts it: only there do fast, UHD and prompt-assist exist (guide, image rules)."""
        return self.creator == "imgnAI"


class VideoModel(_Model):
    """A video model: a price for each duration (seconds) it offers."""

    name: str
    display_name: str
    type: Literal["video"] = "video"
    creator: str | None
    credits_by_duration: dict[int, Amount] = Field(min_length=1)
    usd_by_duration: dict[int, Amount] = {}
    aspect_ratios: tuple[str, ...]
    max_reference_images: int
    max_audio_files: int
    first_frame: bool
    mid_frame: bool
    last_frame: bool
    requires_image: bool
    generates_audio: bool
    custom_rules: tuple[CustomRule, ...] = ()
    x402: bool = True
    features: tuple[str, ...] = ()
    thumbnail: str | None = None
    description: str = ""
    model_key: str | None = None


class TextModel(_Model):
    """A text model: prices a million tokens. `creator` is its publisher, None where not listed."""

    name: str
    display_name: str
    type: Literal["text"] = "text"
    creator: str | None
    credits_per_million_input: Amount
    credits_per_million_output: Amount
    credits_per_million_cache_read: Amount | None = None
    credits_per_million_cache_write: Amount | None = None
    usd_per_million_input: Amount | None = None
    usd_per_million_output: Amount | None = None
    usd_per_million_cache_read: Amount | None = None
    usd_per_million_cache_write: Amount | None = None
    context_length: int
    max_output_tokens: int | None
    privacy: str
    input_types: tuple[str, ...]
    release_date: str | None = None
    x402: bool = True
    features: tuple[str, ...] = ()
    description: str = ""
    model_key: str | None = None

    @property
    def is_private(self) -> bool:
        """Whether the provider runs it on protected hardware, and can prove that."""
        return "private" in self.privacy.lower()


AnyModel = ImageModel | VideoModel | TextModel
Model = Annotated[AnyModel, Field(discriminator="type")]


class Catalog(BaseModel):
    """All models by public name.

    `source` is "bundled" or the origin that was asked; `notes` tell what a refresh could not take over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    source: str
    fetched_at: str
    models: dict[str, Model]
    notes: tuple[str, ...] = ()

    def get(self, name: str) -> AnyModel | None:
        """The model with this public name, or None."""
        return self.models.get(name)

    def by_key(self, key: str) -> AnyModel | None:
        """The model that the provider's answers call `key` (its `model_key` or its public name), or None."""
        return self._by_key.get(key) or self.models.get(key)

    @cached_property
    def _by_key(self) -> dict[str, AnyModel]:
        return {model.model_key: model for model in self.models.values() if model.model_key}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the models: equal digests price equally."""
        documents = {name: model.document() for name, model in self.models.items()}
        text = json.dumps(documents, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def info(self) -> dict[str, str]:
        """The `catalog` part of a plan document."""
        return {"source": self.source, "fetched_at": self.fetched_at, "digest": self.digest}

    def to_json(self) -> str:
        """The whole catalogue as JSON; `from_json` reads it back equal."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Catalog":
        """Reads `to_json`'s output; raises pydantic.ValidationError for anything else."""
        return cls.model_validate_json(text)
