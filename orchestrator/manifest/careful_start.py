"""The keys that make a batch start carefully: `canary`, `stop_when` and `price_tolerance`."""

from dataclasses import dataclass
from decimal import Decimal

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import MAX_JOBS
from orchestrator.manifest.nodes import Entry


@dataclass(frozen=True, slots=True)
class CarefulStart:
    """What must go well before the whole batch is bought; nothing where nothing is asked for.

    `price_tolerance` is how much dearer work may become, as a fraction; `canary` how many jobs of each model run
    first; `stop_when_failed_over` the fraction of ended jobs that may have failed.
    """

    price_tolerance: Decimal | None = None
    canary: int | None = None
    stop_when_failed_over: Decimal | None = None


def read_careful_start(entries: dict[str, Entry], findings: Findings) -> CarefulStart:
    """The three keys among a manifest's top-level `entries`."""
    tolerance, canary = entries.get("price_tolerance"), entries.get("canary")
    return CarefulStart(
        price_tolerance=values.fraction(tolerance.value, "price_tolerance", findings) if tolerance else None,
        canary=values.whole_number(canary.value, "canary", findings, 1, MAX_JOBS) if canary else None,
        stop_when_failed_over=_stop_when(entries.get("stop_when"), findings),
    )


def _stop_when(entry: Entry | None, findings: Findings) -> Decimal | None:
    node = values.mapping(entry.value, "stop_when", findings) if entry else None
    if node is None:
        return None
    for name, unknown in node.entries.items():
        if name != "failed_over":
            message = f"`stop_when` has no key `{values.shorten(name)}`; expected `failed_over`"
            findings.error(Code.UNKNOWN_FIELD, unknown.key, message, f"stop_when.{name}")
    if not node.entries:
        findings.error(Code.INVALID_VALUE, node, "`stop_when` takes `failed_over`, such as 20%", "stop_when")
    failed_over = node.entries.get("failed_over")
    return values.fraction(failed_over.value, "stop_when.failed_over", findings) if failed_over else None
