"""What reading jobs needs to know beside the jobs."""

from dataclasses import dataclass, field
from typing import Any

from orchestrator.manifest.files import Sources
from orchestrator.manifest.rows import Rows


@dataclass(frozen=True, slots=True)
class Setting:
    """`provider_fields` are the names that an item has; `variables` are `vars`, None where the manifest has none."""

    sources: Sources = field(default_factory=Sources)
    provider_fields: frozenset[str] = frozenset()
    variables: dict[str, Any] | None = None
    known_rows: dict[str, Rows] = field(default_factory=dict)
