"""Which fields the provider's items have (guide, "Image Generation Basics", "Video media input rules" and "Text / LLM
Chat Completion Basics")."""

from typing import Literal

from orchestrator.manifest.provider_fields import ProviderFields

JobType = Literal["image", "video", "text"]

COMMON = frozenset({"type", "model", "prompt", "aspect_ratio"})
"""What an item may have whatever it makes, as long as that is not known."""
SINGLE_IMAGES = ("image_url", "input_image_url", "input_image", "input_image_b64")
"""One source image: an input image of an image job, the first frame of a video job."""
IMAGE_LISTS = ("image_urls", "input_images", "input_image_urls")
FAST = ("is_fast", "fast_mode")
UHD = ("is_uhd", "uhd_mode")
PROMPT_ASSIST = ("use_assistant", "prompt_assist", "use_prompt_assist")
IN_HOUSE_SWITCHES = (*FAST, *UHD, *PROMPT_ASSIST)
MAX_TOKENS = ("max_tokens", "max_completion_tokens")

FIELDS: dict[JobType, frozenset[str]] = {
    "image": COMMON | {"output_format", *SINGLE_IMAGES, *IMAGE_LISTS, *IN_HOUSE_SWITCHES},
    "video": COMMON
    | {"duration_seconds", "video_image_data", "reference_image_urls", "reference_assets", *SINGLE_IMAGES},
    "text": frozenset(
        {
            "type",
            "model",
            "prompt",
            "messages",
            *MAX_TOKENS,
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "stop",
            "response_format",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning",
            "reasoning_effort",
            "stream",
            "stream_options",
        }
    ),
}
"""Of a text job: what the guide's examples have, and the fields of the OpenAI API that its features go by."""
REQUIRED: dict[JobType, tuple[str, ...]] = {
    "image": ("model", "prompt", "aspect_ratio"),
    "video": ("model", "prompt", "duration_seconds", "aspect_ratio"),
    "text": ("model",),
}
REQUIRED_BY_BOTH = ("model", "prompt", "aspect_ratio")
_OF_IMAGES_AND_VIDEOS = FIELDS["image"] | FIELDS["video"]
ALL_FIELDS = _OF_IMAGES_AND_VIDEOS | FIELDS["text"]

NOT_OURS_TO_SEND = {
    "request_id": "the provider makes request ids (guide, Main Generation Endpoint)",
    "output": "use `output_format` for the image format (guide, Main Generation Endpoint)",
}
"""Fields the guide names in order to rule them out, with its reason."""


def fields_beside_extra(job_type: str | None) -> frozenset[str]:
    """The fields that a job of this type has in its own right; what else its item holds came in by `extra`."""
    if job_type is None:
        return ALL_FIELDS
    return FIELDS["text"] if job_type == "text" else _OF_IMAGES_AND_VIDEOS


FRAMES: dict[str, Literal["first_frame", "mid_frame", "last_frame"]] = {
    "first_frame_image_url": "first_frame",
    "mid_frame_image_url": "mid_frame",
    "last_frame_image_url": "last_frame",
}
VIDEO_IMAGE_DATA = frozenset({*FRAMES, "reference_image_urls", "audio_input_urls"})
MEDIA_FIELDS = frozenset({*SINGLE_IMAGES, *IMAGE_LISTS, "reference_image_urls", "video_image_data", "reference_assets"})
"""Where the media of an item are."""
ASSET_FIELDS = frozenset({"kind", "url", "base64_data"})
ASSET_SLOTS: dict[str, Literal["reference", "audio"]] = {
    "style_reference": "reference",
    "reference_image": "reference",
    "image": "reference",
    "audio": "audio",
    "source_audio": "audio",
    "reference_audio": "audio",
    "audio_reference": "audio",
}
"""`reference_assets` kinds, by the slot they fill."""

MAX_AUDIO_FILES = 4
"""The cap over all models (guide, `audio_input_urls`)."""

PROVIDER_FIELDS = ProviderFields(
    names=ALL_FIELDS | {f"video_image_data.{name}" for name in VIDEO_IMAGE_DATA},
    lists=frozenset(
        (
            *IMAGE_LISTS,
            "reference_image_urls",
            "reference_assets",
            "video_image_data.reference_image_urls",
            "video_image_data.audio_input_urls",
            "messages",
            "tools",
        )
    ),
    pictures=frozenset((*SINGLE_IMAGES, *IMAGE_LISTS, "reference_image_urls")),
)
"""The names as the manifest room has to know them."""
