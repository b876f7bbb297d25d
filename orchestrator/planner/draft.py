"""A job while it is being checked: its model is known, and so are its fields and media."""

from dataclasses import dataclass

from orchestrator.catalog.models import ImageModel, VideoModel
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Scalar
from orchestrator.planner.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model rules look at. `fields` are the job's own and the defaults that apply to it."""

    node: Mapping
    fields: dict[str, Entry]
    model: ImageModel | VideoModel
    inputs: Inputs
    findings: Findings

    def is_on(self, *switches: str) -> bool:
        """Whether any of these fields is true."""
        given = (self.fields[name].value for name in switches if name in self.fields)
        return any(isinstance(node, Scalar) and node.value is True for node in given)
