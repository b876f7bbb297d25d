"""Measurements, each run as `python -m benchmarks.NAME`; docs/performance.md tells what they show."""
