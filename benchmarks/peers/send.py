"""Puts the jobs of a peer into its queue: `python -m benchmarks.peers.send celery_steps`."""

import importlib
import sys

if __name__ == "__main__":
    importlib.import_module(f"benchmarks.peers.{sys.argv[1]}").send()
