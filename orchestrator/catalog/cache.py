"""The last good catalogue on disk."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import ValidationError

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog

_NAME = "catalog.json"


def load_catalog(home: Path) -> Catalog:
    """The refreshed catalogue under `home` where there is a readable one, else the bundled one."""
    try:
        return Catalog.from_json((home / _NAME).read_bytes())
    except (OSError, ValidationError):
        return bundled_catalog()


def save_catalog(home: Path, catalog: Catalog) -> None:
    """Keeps `catalog` as the one to load; a crash leaves either the old file or the new one."""
    home.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=home, prefix=_NAME, encoding="utf-8", delete=False) as file:
        file.write(catalog.to_json())
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(home / _NAME)
