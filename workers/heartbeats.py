"""Which loops of this worker move: of its main process, and with the pool of threads also of its engines."""

from orchestrator.base.heartbeats import Heartbeats

HEARTBEATS = Heartbeats()
