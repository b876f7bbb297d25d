"""What reading jobs needs to know beside the jobs."""

from dataclasses import dataclass, field
from typing import Any

from orchestrator.manifest.files import Sources
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.rows import Rows, RowsFile


@dataclass(frozen=True, slots=True)
class Setting:
    """`variables` are `vars`, None where the manifest has none. `known_rows` are the files of rows read already."""

    sources: Sources = field(default_factory=Sources)
    fields: ProviderFields = field(default_factory=ProviderFields)
    variables: dict[str, Any] | None = None
    known_rows: dict[RowsFile, Rows] = field(default_factory=dict)
