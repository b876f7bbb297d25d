"""The work that every contender is given."""

import csv
import json
from pathlib import Path

_HEAD = """\
version: 1
name: benchmark
defaults: {type: image, model: gpt-image-2, aspect_ratio: "1:1", output_format: png}
jobs:
  - id: "{{ sku }}"
    for_each: products.csv
    prompt: "Studio photo of product {{ sku }}"
"""


def job_id(number: int) -> str:
    return f"p{number:06}"


def prompt_of(job: str) -> str:
    """The prompt by which the provider's book knows a job."""
    return f"Studio photo of product {job}"


def job_ids(count: int) -> list[str]:
    return [job_id(number) for number in range(count)]


def write_manifest(folder: Path, count: int) -> Path:
    """A manifest as a user writes it, of one job for each row of a CSV file."""
    with (folder / "products.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku"])
        writer.writerows([job] for job in job_ids(count))
    manifest = folder / "batch.yaml"
    manifest.write_text(_HEAD)
    return manifest


def write_items(folder: Path, count: int) -> Path:
    """The same jobs for the peers: JSONL of `id` and the provider's `item`."""
    path = folder / "jobs.jsonl"
    with path.open("w") as file:
        for job in job_ids(count):
            item = {
                "type": "image",
                "model": "gpt-image-2",
                "prompt": prompt_of(job),
                "aspect_ratio": "1:1",
                "output_format": "png",
            }
            file.write(json.dumps({"id": job, "item": item}) + "\n")
    return path
