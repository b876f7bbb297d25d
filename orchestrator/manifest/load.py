"""A manifest from its file: read, checked, expanded."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.manifest.bare import is_bare
from orchestrator.manifest.files import Remote, Sources, folder_of, uri_of
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.schema import Manifest, bare_manifest, read_manifest
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.source import read_source


def load_manifest(path: Path, fields: ProviderFields, findings: Findings, remote: Remote | None = None) -> Manifest:
    """The manifest at `path`; every fault goes to `findings`. `remote` reads s3://, which is refused without it."""
    if is_bare(path.name):
        return bare_manifest(uri_of(path), Setting(Sources("", remote), fields), findings)
    root = read_source(path, findings, remote)
    if root is None:
        return Manifest()
    return read_manifest(root, Setting(Sources(folder_of(path), remote), fields), findings)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """While hundreds of thousands of objects are made to stay: they make each collection slow, and none is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
