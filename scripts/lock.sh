#!/bin/sh
# Writes both requirements files anew from pyproject.toml: pinned, hashed, naming no index. Needs uv.
set -eu
options="--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet"
uv pip compile pyproject.toml --group build $options --output-file requirements.txt "$@"
uv pip compile pyproject.toml --group dev $options --constraint requirements.txt --output-file requirements-dev.txt "$@"
