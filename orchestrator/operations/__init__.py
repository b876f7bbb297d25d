"""One function per verb: each composes the rooms below it. `orchestrator` exports the public ones."""
