"""Reads the catalogue out of the provider's guide.

Usage: python scripts/make_catalog.py GUIDE > orchestrator/catalog/snapshot.json

Strict on purpose: a line that no pattern below explains stops the run, so that a new kind of figure or rule
in a later guide cannot be lost silently. The same guide gives the same bytes.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.catalog.models import Catalog

GUIDE_DATE = "2026-05-20T00:00:00Z"
SECTIONS = {"Text Models": "text", "Image Models": "image", "Video Models": "video"}

RULES = {
    "audio_15s_max": "Combined selected audio input is limited to 15 seconds.",
    "audio_drives_duration": "Video duration follows the selected audio duration.",
    "audio_ff_only": "Audio input can only be used with first-frame conditioning.",
    "audio_needs_reference_image": "Audio input requires at least one reference image.",
    "audio_or_fflf_exclusive": "Audio input cannot be combined with first-frame or last-frame inputs.",
    "lf_needs_ff": "Last-frame input requires a first-frame input.",
    "reference_ff_only": ("Reference images may be combined with first-frame input, but not with last-frame input."),
    "reference_is_voice_timbre": ("Reference audio is interpreted as voice timbre when reference images are present."),
    "reference_no_ff_or_lf": "Reference images cannot be combined with first-frame or last-frame inputs.",
}
RULE_OF_SENTENCE = {sentence: rule for rule, sentence in RULES.items()}

IMAGE_VALUES = (
    "HTTPS URL, `data:image/...;base64,...` data URL, or raw base64 image string for supported "
    "image/frame/reference slots. Never send local file paths, file:// URLs, or http:// media URLs."
)
BILLING = (
    "API-key calls reserve/refund from actual usage with a 0.1-credit rounded minimum. "
    "x402 wallet balance can refund unused reserve; direct x402 pay-as-you-go charges the quoted reserve."
)
AUTO = (
    'send `aspect_ratio: "auto"` to inspect the first image input; with no input it defaults to `1:1` when supported.'
)
SENDS_IMAGES = (
    "send `image_urls` with HTTPS URLs, data URLs, or raw base64 image strings; "
    "never send local file paths or file:// URLs"
)
MAY_SEND_IMAGES = (
    "text prompt is the normal workflow; `image_url` or `image_urls` may be accepted where the backend supports it"
)

NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
DURATION_COST = re.compile(rf"([0-9]+) seconds: {NUMBER} credits \(~\${NUMBER}\)")
IMAGE_COST = re.compile(rf"{NUMBER} credits per image \(~\${NUMBER}\)")
TOKEN_COST = re.compile(
    rf"{NUMBER} credits / 1M input tokens \(US\${NUMBER}\); "
    rf"{NUMBER} credits / 1M output tokens \(US\${NUMBER}\)"
)
CACHE_COST = re.compile(
    rf"(?:Read: {NUMBER} credits / 1M cached input tokens \(US\${NUMBER}\))?(?:; )?"
    rf"(?:Write: {NUMBER} credits / 1M cache write tokens \(US\${NUMBER}\))?"
)

Fields = dict[str, str]
Document = dict[str, Any]


class UnexpectedLineError(Exception):
    """The guide says something that this script does not know how to keep."""


def read_catalog(guide: str) -> Catalog:
    """The guide's "Compact Model Catalog"; raises UnexpectedLineError for anything not understood."""
    readers = {"text": text_model, "image": image_model, "video": video_model}
    models = {}
    for kind, display_name, name, lines in entries(guide):
        fields, rules = read_fields(lines)
        if code(fields.pop("Model name to send")) != name:
            raise UnexpectedLineError(f"{name}: two different names")
        document = {"name": name, "display_name": display_name, "type": kind}
        models[name] = document | readers[kind](fields, rules)
        if fields:
            raise UnexpectedLineError(f"{name}: nothing reads {sorted(fields)}")
    return Catalog.model_validate({"source": "bundled", "fetched_at": GUIDE_DATE, "models": models})


def entries(guide: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """(type, display name, name, lines) of every `###` entry of the catalogue."""
    _, _, catalogue = guide.partition("\n## Compact Model Catalog\n")
    for section in re.split(r"^## ", catalogue, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        for entry in re.split(r"^### ", body, flags=re.MULTILINE)[1:]:
            heading, *lines = entry.strip().splitlines()
            found = match(r"(.+) \(`([a-z0-9-]+)`\)", heading)
            yield SECTIONS[title.strip()], found[1], found[2], lines


def read_fields(lines: list[str]) -> tuple[Fields, list[str]]:
    """`- Label: value` lines by label, and the rule sentences that follow "Custom rules".

    A description that contained " - " was broken into further list lines; they are joined again.
    """
    fields: Fields = {}
    rules: list[str] = []
    for line in lines:
        text = match(r"- (.+)", line)[1]
        label, colon, value = text.partition(":")
        if text in RULE_OF_SENTENCE:
            rules.append(RULE_OF_SENTENCE[text])
        elif colon and label in KNOWN_LABELS:
            if label in fields:
                raise UnexpectedLineError(f"given twice: {line}")
            fields[label] = value.strip()
        elif list(fields)[-1:] == ["Description"]:
            fields["Description"] += f" - {text}"
        else:
            raise UnexpectedLineError(line)
    return fields, rules


KNOWN_LABELS = frozenset(
    {
        "Aspect AUTO",
        "Audio output",
        "Audio references accepted",
        "Billing",
        "Cache Read/Write Cost",
        "Context length",
        "Cost",
        "Creator",
        "Custom rules for this model",
        "Description",
        "Duration costs",
        "Features",
        "First frame input",
        "Image input value format",
        "Image inputs",
        "Input price",
        "Last frame input",
        "Max output tokens",
        "Mid frame input",
        "Model name to send",
        "Output format",
        "Output price",
        "Privacy",
        "Publisher",
        "Reference image input",
        "Reference images supported",
        "Release date",
        "Supported aspects",
        "Supported input types",
        "Thumbnail",
        "x402",
    }
)


def image_model(fields: Fields, rules: list[str]) -> Document:
    """An entry of "Image Models"."""
    cost = match(IMAGE_COST, fields.pop("Cost"))
    references = int(fields.pop("Reference images supported"))
    formats = match(r"send `output_format` as (.+)\.", fields.pop("Output format"))[1]
    features = listed(fields.pop("Features"))
    sends_images = references > 0 or "edit/reference workflow" in features
    same(fields.pop("Image inputs"), SENDS_IMAGES if sends_images else MAY_SEND_IMAGES)
    same(fields.pop("Aspect AUTO"), AUTO)
    same(rules, [])
    return {
        "creator": optional(fields.pop("Creator")),
        "credits": cost[1],
        "usd": cost[2],
        "aspect_ratios": aspect_ratios(fields),
        "max_reference_images": references,
        "requires_image": "requires image input" in features,
        "output_formats": re.findall(r"`([a-z]+)`", formats),
        "x402": media_x402(fields),
        "features": features,
        "thumbnail": fields.pop("Thumbnail"),
        "description": fields.pop("Description"),
    }


def video_model(fields: Fields, rules: list[str]) -> Document:
    """An entry of "Video Models"."""
    costs = [match(DURATION_COST, cost) for cost in fields.pop("Duration costs").split("; ")]
    references = int(fields.pop("Reference images supported"))
    expected = f"supported, up to {references} image(s)" if references else "not supported"
    same(fields.pop("Reference image input"), expected)
    same(fields.pop("Image input value format"), IMAGE_VALUES)
    same(fields.pop("Custom rules for this model"), "" if rules else "none")
    features = listed(fields.pop("Features"))
    return {
        "creator": optional(fields.pop("Creator")),
        "credits_by_duration": {cost[1]: cost[2] for cost in costs},
        "usd_by_duration": {cost[1]: cost[3] for cost in costs},
        "aspect_ratios": aspect_ratios(fields),
        "max_reference_images": references,
        "max_audio_files": audio_files(fields.pop("Audio references accepted")),
        "first_frame": supported(fields.pop("First frame input")),
        "mid_frame": supported(fields.pop("Mid frame input")),
        "last_frame": supported(fields.pop("Last frame input")),
        "requires_image": "requires image input" in features,
        "generates_audio": one_of(
            fields.pop("Audio output"),
            {"generates audio by default": True, "silent/no generated audio": False},
        ),
        "custom_rules": rules,
        "x402": media_x402(fields),
        "features": features,
        "thumbnail": fields.pop("Thumbnail"),
        "description": fields.pop("Description"),
    }


def text_model(fields: Fields, rules: list[str]) -> Document:
    """An entry of "Text Models"."""
    cost = match(TOKEN_COST, fields.pop("Cost"))
    same(fields.pop("Input price"), f"{cost[1]} credits per 1M input tokens.")
    same(fields.pop("Output price"), f"{cost[3]} credits per 1M output tokens.")
    same(fields.pop("Billing"), BILLING)
    same(rules, [])
    cache = match(CACHE_COST, fields.pop("Cache Read/Write Cost", ""))
    return {
        "creator": optional(fields.pop("Publisher")),
        "credits_per_million_input": cost[1],
        "credits_per_million_output": cost[3],
        "credits_per_million_cache_read": cache[1],
        "credits_per_million_cache_write": cache[3],
        "usd_per_million_input": cost[2],
        "usd_per_million_output": cost[4],
        "usd_per_million_cache_read": cache[2],
        "usd_per_million_cache_write": cache[4],
        "context_length": match(r"([0-9]+) tokens", fields.pop("Context length"))[1],
        "max_output_tokens": optional(fields.pop("Max output tokens")),
        "privacy": fields.pop("Privacy"),
        "input_types": listed(fields.pop("Supported input types")),
        "release_date": match(r"([0-9]{4}-[0-9]{2}-[0-9]{2})", fields.pop("Release date"))[1],
        "x402": fields.pop("x402").startswith("supported for non-streaming calls."),
        "features": listed(fields.pop("Features")),
        "description": fields.pop("Description"),
    }


def match(pattern: str | re.Pattern[str], text: str) -> re.Match[str]:
    found = re.fullmatch(pattern, text)
    if found is None:
        raise UnexpectedLineError(text)
    return found


def same(found: object, expected: object) -> None:
    if found != expected:
        raise UnexpectedLineError(f"{found!r}, expected {expected!r}")


def one_of(text: str, meanings: dict[str, bool]) -> bool:
    if text not in meanings:
        raise UnexpectedLineError(text)
    return meanings[text]


def supported(text: str) -> bool:
    return one_of(text, {"supported": True, "not supported": False})


def audio_files(text: str) -> int:
    return 0 if text == "no" else int(match(r"yes, up to ([0-9]+) file\(s\)", text)[1])


def aspect_ratios(fields: Fields) -> list[str]:
    return [match(r"([0-9]+:[0-9]+)", ratio)[1] for ratio in listed(fields.pop("Supported aspects"))]


def media_x402(fields: Fields) -> bool:
    return fields.pop("x402").startswith("supported with Base USDC and Solana USDC.")


def listed(text: str) -> list[str]:
    return text.split(", ")


def optional(text: str) -> str | None:
    return None if text == "not listed" else text


def code(text: str) -> str:
    return match(r"`(.+)`", text)[1]


if __name__ == "__main__":
    sys.stdout.write(read_catalog(Path(sys.argv[1]).read_text(encoding="utf-8")).to_json())
