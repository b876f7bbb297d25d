"""The command line: one thin module per group of commands; each parses, calls an operation and renders."""

from orchestrator.cli.entry import main

__all__ = ["main"]
