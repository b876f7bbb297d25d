"""A manifest from its file: read, checked, expanded."""

from pathlib import Path

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.files import Remote, Sources, folder_of
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Scalar
from orchestrator.manifest.rows import CSV_SUFFIXES, JSONL_SUFFIXES
from orchestrator.manifest.schema import Manifest, read_manifest
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.source import read_source


def load_manifest(
    path: Path, provider_fields: frozenset[str], findings: Findings, remote: Remote | None = None
) -> Manifest:
    """The manifest at `path`; every fault goes to `findings`. `remote` reads s3://, which is refused without it."""
    if path.suffix.lower() in CSV_SUFFIXES | JSONL_SUFFIXES:
        message = f"the manifest must be YAML or JSON; {path.suffix} files are not available in this release"
        findings.error(Code.MANIFEST_UNREADABLE, Scalar(None, 1, 1), message)
        return Manifest()
    root = read_source(path, findings, remote)
    if root is None:
        return Manifest()
    return read_manifest(root, findings, Setting(Sources(folder_of(path), remote), provider_fields))
