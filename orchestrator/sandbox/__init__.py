"""The stand-in provider: Katana's HTTP API on loopback, with its own judgement, its own ledger and faults on demand.

It shares only the catalogue and `base` with the rest, so that the two sides check each other.
"""

from orchestrator.sandbox.cashier import Ways
from orchestrator.sandbox.faults import FaultRule, Faults
from orchestrator.sandbox.server import Sandbox, SandboxBusy, serve_forever

__all__ = ["FaultRule", "Faults", "Sandbox", "SandboxBusy", "Ways", "serve_forever"]
