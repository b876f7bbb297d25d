"""While the provider is down: a probe that costs nothing, now and then, by one of all workers."""

from orchestrator.base.logs import LogEvent, as_event
from orchestrator.engine.free_answers import free_answer
from orchestrator.engine.runtime import Engine, log
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.store import breaker

#: A provider that needs longer than this for its list of models is not back yet.
_PROBE_TIMEOUT_SECONDS = 10.0


async def probe(engine: Engine) -> None:
    """Where the breaker is open and a probe is due, ask for the models; an answer closes the breaker."""
    account_pk = engine.scope.account_pk
    if not await engine.transact(breaker.take_probe, account_pk):
        return
    try:
        body = await free_answer(engine, engine.client.models(), seconds=_PROBE_TIMEOUT_SECONDS)
    except (ProviderUnavailable, TimeoutError) as error:
        engine.note_outage(str(error) or "no answer in time")
        return
    if not body.lstrip().startswith((b"{", b"[")):
        engine.note_outage("something else answers in its place")
        return
    if await engine.transact(breaker.close, account_pk):
        log.warning(
            "the provider answers again; sending goes on, one paid request first",
            extra=as_event(LogEvent.BREAKER_CLOSED),
        )


def note_opening(failures: int, reason: str) -> None:
    """Say that a failure, the so many-th in a row, has opened the breaker."""
    if failures >= breaker.FAILURES_TO_OPEN:
        log.warning(
            "%s failures in a row (%s): nothing is sent until the provider answers again",
            failures,
            reason,
            extra=as_event(LogEvent.BREAKER_OPENED, failures=failures),
        )
