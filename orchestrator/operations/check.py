"""What `doctor` finds out about one thing."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a check went: only `fail` stops a batch."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, what was found, and what to do about it."""

    name: str
    verdict: Health
    message: str
    hint: str | None = None

    def document(self) -> dict[str, str | None]:
        """The JSON form."""
        return asdict(self)
