"""The person at the command line: does what the holds ask for, through the operations that the commands call."""

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from orchestrator.base.errors import OrchestratorError
from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.operations import approving, budgeting, recovering, resolving, resuming, retrying, steering
from orchestrator.store.caps import Limit

from .site import ProviderSite

_OPEN = "SELECT id FROM batch WHERE state IN ('running', 'held', 'paused') ORDER BY id"
_HOLDS = "SELECT code FROM hold WHERE batch_id = :batch ORDER BY code"
_IN_DOUBT = (
    "SELECT job.name, submission.body_sha256, payment.nonce FROM job "
    "JOIN submission ON submission.id = job.submission_id LEFT JOIN payment ON payment.submission_id = submission.id "
    "WHERE job.batch_id = :batch AND job.state = 'in_doubt' ORDER BY job.pk"
)
_GATES = (
    "SELECT name FROM job WHERE batch_id = :batch AND gate = 'manual' AND state = 'completed' AND EXISTS "
    "(SELECT FROM job_need WHERE needed_pk = job.pk) ORDER BY pk"
)
_KNOWN = "SELECT request_id FROM submission WHERE request_id IS NOT NULL"
_FAILED = (
    "SELECT batch_id, name, item->>'prompt' AS prompt, error->>'code' AS code FROM job "
    "WHERE state IN ('failed', 'rejected') ORDER BY pk"
)


class Person:
    """Knows the provider's web history, and so the truth about every payment."""

    def __init__(
        self, settings: Settings, payment: Payment, looking: Connection, site: ProviderSite, dice: random.Random
    ) -> None:
        self._settings = settings
        self._payment = payment
        self._looking = looking
        self._site = site
        self._dice = dice
        #: What was done, and what was refused, by verb.
        self.done: Counter[str] = Counter()
        #: How often a job (by prompt) was knowingly bought once more.
        self.bought_again: Counter[str] = Counter()

    def see_to_holds(self) -> None:
        """Look at every open batch, and do what its holds say; then let it go on."""
        for batch in self._ask(_OPEN):
            holds = [row.code for row in self._ask(_HOLDS, batch=batch.id)]
            if "in-doubt" in holds and self._dice.random() < 0.5:
                self._resolve_all(batch.id)
            if "budget-reached" in holds and self._dice.random() < 0.5:
                self._raise_caps(batch.id)
            if "gate" in holds and self._dice.random() < 0.3:
                gate = self._ask(_GATES, batch=batch.id)[0].name
                self._do("reject", steering.reject, batch.id, self._settings, job=gate)
            if {"canary", "price-changed", "stop-when", "gate"} & {*holds}:
                self._do("approve", approving.approve, batch.id, self._settings, confirm=_yes)
            self._do("resume", resuming.resume, batch.id, self._settings, confirm=_yes)

    def pause(self) -> None:
        self._with_a_batch("pause", steering.pause)

    def cancel(self) -> None:
        self._with_a_batch("cancel", steering.cancel)

    def recover(self) -> None:
        self._do("recover", recovering.recover, self._settings)

    def retry_failed(self) -> None:
        """Run what failed again, also what was paid for in vain."""
        again = self._dice.random() < 0.5
        failed = self._ask(_FAILED)
        for batch in sorted({row.batch_id for row in failed}):
            if not self._do("retry", retrying.retry, batch, self._settings, again=again, confirm=_yes):
                continue
            for row in failed:
                if row.batch_id == batch and (again or row.code != "payment-lost"):
                    self.bought_again[row.prompt] += 1

    def _resolve_all(self, batch: str) -> None:
        """As it was: the request where the history shows one that nobody knows, else not charged."""
        while True:
            doubtful = self._ask(_IN_DOUBT, batch=batch)
            if not doubtful:
                return
            job = doubtful[0]
            known = {row.request_id for row in self._ask(_KNOWN)}
            found = [
                request.request_id
                for request in self._site.book.requests()
                if request.body_sha256 == job.body_sha256 and request.request_id not in known
            ]
            is_paid = any(settled.nonce == job.nonce for settled in self._site.settlements())
            said: Any = "charged" if is_paid else "not-charged"
            if found:
                said = UUID(found[0]) if self._dice.random() < 0.5 else "charged"
            if not self._do("resolve", resolving.resolve, batch, job.name, self._settings, said):
                return

    def _raise_caps(self, batch: str) -> None:
        limit = Limit(Decimal(100_000), "credits")
        self._do("budget", budgeting.set_batch_budget, batch, self._settings, limit)
        self._do("budget", budgeting.set_budget, self._settings, {"daily": None, "monthly": None}, self._payment)

    def _with_a_batch(self, verb: str, operation: Callable[[str, Settings], object]) -> None:
        open_ones = self._ask(_OPEN)
        if open_ones:
            self._do(verb, operation, self._dice.choice(open_ones).id, self._settings)

    def _do(self, verb: str, operation: Callable[..., object], *arguments: Any, **named: Any) -> bool:
        try:
            operation(*arguments, **named)
        except OrchestratorError:
            self.done[f"{verb} refused"] += 1
            return False
        self.done[verb] += 1
        return True

    def _ask(self, query: str, **values: object) -> list[Any]:
        return list(self._looking.execute(text(query), values).all())


def _yes(*_: object) -> bool:
    return True
