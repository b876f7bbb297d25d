"""The rules a video model lists for itself (guide, "Video Custom Rule Glossary")."""

from dataclasses import dataclass

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.models import CustomRule, VideoModel
from orchestrator.planner.draft import Draft
from orchestrator.planner.inputs import Slot

MAX_AUDIO_SECONDS = 15
AUDIO_TOLERANCE_SECONDS = 0.1
"""An encoder pads the last frame: 15 seconds of sound make an MP3 of 15.05."""


@dataclass(frozen=True, slots=True)
class _Combination:
    """`slot` may not be filled together with any of `excludes`, nor without `needs`."""

    slot: Slot
    message: str
    excludes: tuple[Slot, ...] = ()
    needs: Slot | None = None


_COMBINATIONS: dict[CustomRule, _Combination] = {
    "audio_ff_only": _Combination(
        "audio",
        "audio goes with a first frame only, not with mid or last frames or reference images",
        excludes=("mid_frame", "last_frame", "reference"),
    ),
    "audio_needs_reference_image": _Combination("audio", "audio needs at least one reference image", needs="reference"),
    "audio_or_fflf_exclusive": _Combination(
        "audio",
        "audio cannot be combined with a first or last frame",
        excludes=("first_frame", "last_frame"),
    ),
    "lf_needs_ff": _Combination("last_frame", "a last frame needs a first frame", needs="first_frame"),
    "reference_ff_only": _Combination(
        "reference", "reference images cannot be combined with a last frame", excludes=("last_frame",)
    ),
    "reference_no_ff_or_lf": _Combination(
        "reference",
        "reference images cannot be combined with a first or last frame",
        excludes=("first_frame", "last_frame"),
    ),
}
"""The other rules of the glossary describe what the provider does (`audio_drives_duration` matters to the price)."""


def check_custom_rules(draft: Draft, model: VideoModel) -> None:
    """Every rule that the model lists, and no other."""
    for rule in model.custom_rules:
        if rule in _COMBINATIONS:
            _check_combination(draft, rule, _COMBINATIONS[rule])
        elif rule == "audio_15s_max":
            _check_audio_length(draft)
        if rule == "audio_ff_only":
            _warn_audio_alone(draft)


def _check_combination(draft: Draft, rule: CustomRule, combination: _Combination) -> None:
    given = draft.inputs.of(combination.slot)
    excluded = draft.inputs.of(*combination.excludes)
    lacking = combination.needs is not None and not draft.inputs.of(combination.needs)
    if given and (excluded or lacking):
        message = f"on {draft.model.name} {combination.message}"
        draft.findings.error(Code(rule), given[0].whole, message, given[0].field)


def _warn_audio_alone(draft: Draft) -> None:
    """The glossary excludes other inputs; whether it also demands a first frame can be read both ways."""
    audio = draft.inputs.of("audio")
    if audio and not draft.inputs.of("first_frame", "mid_frame", "last_frame", "reference"):
        message = f"{draft.model.name} may want a first frame with its audio"
        draft.findings.warn(Code.AUDIO_FF_ONLY, audio[0].whole, message, audio[0].field)


def _check_audio_length(draft: Draft) -> None:
    given = draft.inputs.of("audio")
    media = [draft.inputs.media.get(id(audio.node)) for audio in given]
    known = [medium.seconds for medium in media if medium and medium.seconds is not None]
    if sum(known) > MAX_AUDIO_SECONDS + AUDIO_TOLERANCE_SECONDS:
        message = f"{draft.model.name} takes {MAX_AUDIO_SECONDS} seconds of audio; {sum(known):.1f} are given"
        draft.findings.error(Code.AUDIO_15S_MAX, given[0].whole, message, given[0].field)
    elif any(medium and medium.seconds is None for medium in media):
        message = f"a remote audio's length is unknown; {draft.model.name} takes {MAX_AUDIO_SECONDS} seconds"
        draft.findings.warn(Code.AUDIO_15S_MAX, given[0].whole, message, given[0].field)
