"""What may be sent now, over all workers: a window of jobs and a token bucket, for the account and for each model."""

from collections import Counter
from dataclasses import dataclass, replace
from math import floor, inf
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from orchestrator.store.database import NOW
from orchestrator.store.pacing import WHOLE_ACCOUNT
from orchestrator.store.tables import paces

#: A job whose answer was lost may run at the provider for this long after it was sent.
IN_DOUBT_RUNS_SECONDS = 900.0

_IN_FLIGHT = text(
    """
    SELECT batch_id, model, sum(jobs) AS jobs, sum(submitting) AS submitting, count(*) AS rows
    FROM in_flight WHERE account_pk = :account GROUP BY batch_id, model
    UNION ALL
    SELECT NULL, job.model, count(*), 0, 1
    FROM submission JOIN job ON job.submission_id = submission.id AND job.state = 'in_doubt'
    WHERE submission.account_pk = :account AND submission.state = 'unknown'
      AND submission.sent_at > orchestrator_now() - make_interval(secs => :runs)
    GROUP BY job.model
    """
)
#: So many rows of one account in `in_flight` are folded, each into that of its batch and model. What another one folds
#: just now is left to it.
_MANY_ROWS = 256
_FOLD = text(
    """
    WITH found AS (SELECT pk FROM in_flight WHERE account_pk = :account FOR UPDATE SKIP LOCKED), gone AS (
        DELETE FROM in_flight WHERE pk IN (SELECT pk FROM found)
        RETURNING account_pk, batch_id, model, jobs, submitting
    )
    INSERT INTO in_flight (account_pk, batch_id, model, jobs, submitting)
    SELECT account_pk, batch_id, model, sum(jobs), sum(submitting) FROM gone
    GROUP BY account_pk, batch_id, model HAVING sum(jobs) <> 0 OR sum(submitting) <> 0
    """
)


@dataclass(frozen=True, slots=True)
class Limit:
    """A row of `pace`, as of now. `paused_seconds` is what is left of its pause (at most 0: none)."""

    room: float = inf
    recovering: bool = False
    rate: float | None = None
    tokens: float = 0.0
    paused_seconds: float = 0.0

    def free(self, jobs: int, submitting: int) -> float:
        """How many more jobs fit in, seen how many are in flight and how many of those are being sent."""
        return self.room - (submitting if self.recovering else jobs)

    def posts(self) -> float:
        """How many POSTs may leave now."""
        if self.paused_seconds > 0:
            return 0
        return inf if self.rate is None else self.tokens

    def wait_seconds(self) -> float:
        """Until one POST may leave."""
        refill = 0.0 if self.rate is None else (1 - self.tokens) / self.rate
        return max(self.paused_seconds, refill, 0.0)


_NO_LIMIT = Limit()


class Room:
    """What may be sent now. It counts what it grants, so that several batches share it.

    Exact under the account's lock; without it, a good guess of when to look again.
    """

    def __init__(self, connection: Connection, account_pk: int, *, max_in_flight: int) -> None:
        self._connection = connection
        self._account_pk = account_pk
        self._max_in_flight = max_in_flight
        self._limits = _limits(connection, account_pk)
        self._jobs: Counter[str] = Counter()
        self._submitting: Counter[str] = Counter()
        self._of_batches: Counter[str] = Counter()
        self._rows_too_many = 0
        parameters = {"account": account_pk, "runs": IN_DOUBT_RUNS_SECONDS}
        for batch_id, model, jobs, submitting, rows in connection.execute(_IN_FLIGHT, parameters):
            self._count(model, jobs, submitting)
            self._of_batches[batch_id] += jobs
            self._rows_too_many += rows - 1

    def of_batch(self, batch_id: str) -> int:
        """How many jobs of a batch are at the provider, but for those in doubt."""
        return self._of_batches[batch_id]

    def fold(self) -> None:
        """Have the next one read less, where there is much to read; with the account's lock or without."""
        if self._rows_too_many > _MANY_ROWS:
            self._connection.execute(_FOLD, {"account": self._account_pk})

    def places(self) -> int:
        """How many more jobs may be at the provider."""
        return max(int(self._free(WHOLE_ACCOUNT)), 0)

    def jobs(self, model: str = WHOLE_ACCOUNT, *, bundle: int = 1) -> int:
        """How many jobs of a model may be sent now, `bundle` of them a POST; without a model: of all together."""
        posts = min(self._limit(name).posts() for name in {model, WHOLE_ACCOUNT})
        whole_posts = posts if posts == inf else floor(posts + 1e-9)  # a token that is due to the millisecond is there
        return max(int(min(self._free(model), whole_posts * bundle)), 0)

    def wait_seconds(self, model: str) -> float | None:
        """Until a job of the model may be sent (0: now); None while it is full: something has to end first."""
        if self._free(model) < 1:
            return None
        return max(self._limit(name).wait_seconds() for name in {model, WHOLE_ACCOUNT})

    def take(self, model: str, jobs: int) -> None:
        """A POST with so many jobs of a model leaves."""
        self._count(model, jobs, jobs)
        for name in (model, WHOLE_ACCOUNT):
            limit = self._limit(name)
            if limit.rate is not None:
                self._limits[name] = replace(limit, tokens=limit.tokens - 1)

    def record(self) -> None:
        """Write down which tokens are left."""
        for model, limit in self._limits.items():
            if limit.rate is not None:
                self._connection.execute(
                    update(paces)
                    .where(paces.c.account_pk == self._account_pk, paces.c.model == model)
                    .values(tokens=limit.tokens, filled_at=NOW)
                )

    def _count(self, model: str, jobs: int, submitting: int) -> None:
        for name in (model, WHOLE_ACCOUNT):
            self._jobs[name] += jobs
            self._submitting[name] += submitting

    def _limit(self, name: str) -> Limit:
        return self._limits.get(name, _NO_LIMIT)

    def _free(self, model: str) -> float:
        own = [self._limit(name).free(self._jobs[name], self._submitting[name]) for name in {model, WHOLE_ACCOUNT}]
        return min(self._max_in_flight - self._jobs[WHOLE_ACCOUNT], *own)


def _limits(connection: Connection, account_pk: int) -> dict[str, Limit]:
    filled = func.extract("epoch", NOW - paces.c.filled_at).label("filled_seconds")
    paused = func.extract("epoch", paces.c.paused_until - NOW).label("paused_seconds")
    rows = connection.execute(select(paces, filled, paused).where(paces.c.account_pk == account_pk))
    return {row.model: _limit(row) for row in rows}


def _limit(row: Any) -> Limit:
    rate = row.rate
    tokens = 0.0 if rate is None else min(row.tokens + rate * float(row.filled_seconds), max(rate, 1.0))
    return Limit(row.room, row.recovering, rate, tokens, float(row.paused_seconds or 0))
