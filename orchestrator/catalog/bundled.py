"""The catalogue that ships with the package: the provider's guide, as `scripts/make_catalog.py` read it."""

from functools import cache
from importlib.resources import files

from orchestrator.catalog.models import Catalog


@cache
def bundled_catalog() -> Catalog:
    """All 111 models of the guide; needs no network."""
    return Catalog.from_json(files("orchestrator.catalog").joinpath("snapshot.json").read_bytes())
