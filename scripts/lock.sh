#!/bin/sh
# Writes the requirements files anew, from pyproject.toml and benchmarks/requirements.in: pinned, hashed, naming no index. Needs uv.
set -eu
options="--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet"
uv pip compile pyproject.toml --group build $options --output-file requirements.txt "$@"
uv pip compile pyproject.toml --group dev $options --constraint requirements.txt --output-file requirements-dev.txt "$@"
uv pip compile benchmarks/requirements.in $options --output-file benchmarks/requirements.txt "$@"
