"""What can be wrong with a manifest: stable codes, and one fault with its place."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Code(StrEnum):
    """Every code a diagnostic can carry; scripts depend on these names."""

    MANIFEST_UNREADABLE = "manifest-unreadable"
    ENCODING_GUESSED = "encoding-guessed"  # warnings only: the file was read
    YAML_SYNTAX = "yaml-syntax"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    INVALID_VALUE = "invalid-value"
    DUPLICATE_JOB_ID = "duplicate-job-id"
    UNKNOWN_MODEL = "unknown-model"
    WRONG_MODEL_TYPE = "wrong-model-type"
    UNSUPPORTED_ASPECT_RATIO = "unsupported-aspect-ratio"
    UNSUPPORTED_DURATION = "unsupported-duration"
    UNSUPPORTED_OUTPUT_FORMAT = "unsupported-output-format"
    UNSUPPORTED_FIELD = "unsupported-field"
    IMAGE_INPUT_REQUIRED = "image-input-required"
    REFERENCE_IMAGES_UNSUPPORTED = "reference-images-unsupported"
    TOO_MANY_REFERENCE_IMAGES = "too-many-reference-images"
    FIRST_FRAME_UNSUPPORTED = "first-frame-unsupported"
    MID_FRAME_UNSUPPORTED = "mid-frame-unsupported"
    LAST_FRAME_UNSUPPORTED = "last-frame-unsupported"
    AUDIO_UNSUPPORTED = "audio-unsupported"
    TOO_MANY_AUDIO_FILES = "too-many-audio-files"
    LF_NEEDS_FF = "lf_needs_ff"
    REFERENCE_NO_FF_OR_LF = "reference_no_ff_or_lf"
    REFERENCE_FF_ONLY = "reference_ff_only"
    AUDIO_15S_MAX = "audio_15s_max"
    AUDIO_FF_ONLY = "audio_ff_only"
    AUDIO_NEEDS_REFERENCE_IMAGE = "audio_needs_reference_image"
    AUDIO_OR_FFLF_EXCLUSIVE = "audio_or_fflf_exclusive"
    INSECURE_MEDIA_URL = "insecure-media-url"
    BAD_MEDIA_URL = "bad-media-url"
    MEDIA_FILE_MISSING = "media-file-missing"
    CORRUPT_MEDIA = "corrupt-media"
    UNKNOWN_DEPENDENCY = "unknown-dependency"
    DEPENDENCY_CYCLE = "dependency-cycle"
    TEMPLATE_ERROR = "template-error"
    OVER_BUDGET = "over-budget"
    PRICE_UNKNOWN = "price-unknown"  # warnings only: the estimate reserves the dearest known price
    PRICE_CHANGED = "price-changed"  # of a saved plan, as are the next two
    MEDIA_CHANGED = "media-changed"
    MANIFEST_CHANGED = "manifest-changed"  # warnings only: the saved plan is what runs
    UNKNOWN_BATCH = "unknown-batch"  # of decisions, as are the next two
    UNKNOWN_JOB = "unknown-job"
    ASSET_CHANGED = "asset-changed"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault or warning: what, where (1-based line and column), and in which job and field."""

    code: Code
    message: str
    file: str
    line: int = 1
    column: int = 1
    job: str | None = None
    field: str | None = None

    def sort_key(self) -> tuple[int, int, str]:
        return (self.line, self.column, self.code)

    def render(self, severity: str) -> str:
        """The terminal form, `batch.yaml:12:19: error[code]: message`."""
        return f"{self.file}:{self.line}:{self.column}: {severity}[{self.code}]: {self.message}"

    def document(self) -> dict[str, object]:
        """The JSON form, as interface "plan" has it."""
        return asdict(self)
