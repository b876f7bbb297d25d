"""Whether the books balance: the ledger's derived balances against the rows that they are about, payments included;
and whether the jobs at the provider, which are counted as they move, are those that are there.

One statement, so that all of it is seen at one instant, also while workers run. Each rule yields what the rows say
(`expected`) and what the books say (`found`); where both are the same there is nothing to tell.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from orchestrator.base.money import canonical, unit_word
from orchestrator.base.payments import Payment, Unit

_WORDS = {
    "movement": "an entry of {found} {unit} goes a way that its kind does not know",
    "misfiled": "entries of {found} {unit} are filed under another batch or account than their job",
    "overdrawn": "a book is at {found} {unit} on a day",
    "reserved": "{found} {unit} are reserved, {expected} should be",
    "in-doubt": "{found} {unit} are in doubt, {expected} should be",
    "charged": "the submission says that it cost {expected} {unit}, its books say {found}",
    "spent": "the job says that it cost {expected} {unit}, its books say {found}",
    "batch-reserved": "the batch's jobs hold {expected} {unit}, its books {found}",
    "batch-in-doubt": "the batch's jobs have {expected} {unit} in doubt, its books {found}",
    "batch-spent": "the batch's jobs spent {expected} {unit}, its books say {found}",
    "usage": "caps count {expected} {unit} on a day, the books say {found}",
    "usage-usd": "caps count {expected} dollars on a day, the books say {found}",
    "payment-amount": "its payment comes to {expected} {unit}, its books say {found}",
    "payment-out": "a payment of {found} {unit} may still settle, though its submission is over",
    "payment-signature": "a payment of {found} {unit} is over, but its signature is still there",
    "payment-misfiled": "a payment of {found} {unit} is filed under another account than its submission",
    "payment-missing": "it was sent for {expected} {unit} without a payment",
    "at-provider": "{found} jobs of one of its models are counted as at the provider, {expected} are there",
    "submitting": "{found} jobs of one of its models are counted as being submitted, {expected} are",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One imbalance; the rule that is broken, where, and the two amounts in `unit` (in `usage-usd` they are dollars, in
    `at-provider` and `submitting` jobs).
    """

    rule: str
    batch: str
    job: str | None
    submission: str | None
    expected: Decimal
    found: Decimal
    unit: Unit = Unit.CREDITS

    @property
    def message(self) -> str:
        amounts = {"expected": canonical(self.expected), "found": canonical(self.found)}
        return _WORDS[self.rule].format(**amounts, unit=unit_word(self.unit))

    def document(self) -> dict[str, Any]:
        """The finding in JSON."""
        return {
            "rule": self.rule,
            "batch": self.batch,
            "job": self.job,
            "submission": self.submission,
            "expected": canonical(self.expected),
            "found": canonical(self.found),
            "unit": self.unit,
            "message": self.message,
        }


def audit(connection: Connection, batch_id: str | None = None) -> list[Finding]:
    """Every imbalance of one batch, or of all there are; empty where the books balance."""
    rows = connection.execute(_AUDIT, {"batch": batch_id})
    return [
        Finding(
            rule=row.rule,
            batch=row.batch_id,
            job=row.job,
            submission=None if row.submission_id is None else str(row.submission_id),
            expected=row.expected,
            found=row.found,
            unit=Payment(row.payment).unit,
        )
        for row in rows
    ]


def audit_briefly(connection: Connection, batch_id: str, *, milliseconds: int = 5000) -> list[Finding] | None:
    """The same of one batch, in a transaction of its own; None where it takes longer than that."""
    connection.execute(text(f"SET LOCAL statement_timeout = {int(milliseconds)}"))
    try:
        return audit(connection, batch_id)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELED:
            raise
        connection.rollback()
        return None


def recent_batches(connection: Connection) -> list[str]:
    """The batches that are open or ended in the last day, those of sandboxes excepted, sorted by id."""
    return [str(batch_id) for batch_id in connection.execute(_RECENT).scalars()]


_CANCELED = "57014"
_RECENT = text(
    """
    SELECT id FROM batch
    WHERE (finished_at IS NULL OR finished_at > orchestrator_now() - interval '1 day') AND NOT sandbox ORDER BY id
    """
)
#: `book` holds what each job of each submission has in each book, by the day that it counts in.
_AUDIT = text(
    """
    WITH entry AS NOT MATERIALIZED (
        SELECT * FROM ledger WHERE CAST(:batch AS text) IS NULL OR batch_id = CAST(:batch AS text)
    ), item AS NOT MATERIALIZED (
        SELECT job.*, coalesce(price, estimate) AS cost FROM job
        WHERE CAST(:batch AS text) IS NULL OR batch_id = CAST(:batch AS text)
    ), book AS MATERIALIZED (
        SELECT batch_id, submission_id, job_pk, day, count(*) AS entries,
               sum(CASE 'reserved' WHEN to_book THEN amount WHEN from_book THEN -amount ELSE 0 END) AS reserved,
               sum(CASE 'in_doubt' WHEN to_book THEN amount WHEN from_book THEN -amount ELSE 0 END) AS in_doubt,
               sum(CASE 'spent' WHEN to_book THEN amount WHEN from_book THEN -amount ELSE 0 END) AS spent,
               sum(CASE 'lost' WHEN to_book THEN amount WHEN from_book THEN -amount ELSE 0 END) AS lost,
               sum(CASE 'available' WHEN to_book THEN -amount WHEN from_book THEN amount ELSE 0 END) AS committed,
               sum(usd_per_credit * CASE 'available' WHEN to_book THEN -amount WHEN from_book THEN amount ELSE 0 END)
                   AS committed_usd
        FROM entry GROUP BY batch_id, submission_id, job_pk, day
    ), pair AS MATERIALIZED (
        SELECT batch_id, submission_id, job_pk,
               sum(reserved) AS reserved, sum(in_doubt) AS in_doubt, sum(spent + lost) AS cost
        FROM book GROUP BY batch_id, submission_id, job_pk
    ), due AS (
        SELECT item.batch_id, item.submission_id, item.pk AS job_pk,
               CASE WHEN item.state IN ('submitting', 'generating') AND s.state IN ('intended', 'sent', 'accepted')
                    THEN item.cost ELSE 0 END AS reserved,
               CASE WHEN item.state = 'in_doubt' AND s.state = 'unknown' THEN item.cost ELSE 0 END AS in_doubt
        FROM item JOIN submission s ON s.id = item.submission_id
    ), of_batch AS (
        SELECT batch_id, sum(reserved) AS reserved, sum(in_doubt) AS in_doubt, sum(cost) AS cost
        FROM pair GROUP BY batch_id
    ), of_items AS (
        SELECT batch_id, sum(cost) FILTER (WHERE state IN ('submitting', 'generating')) AS reserved,
               sum(cost) FILTER (WHERE state = 'in_doubt') AS in_doubt, sum(spent) AS cost
        FROM item GROUP BY batch_id
    ), of_day AS (
        SELECT batch_id, day, sum(committed) AS credits, sum(committed_usd) AS usd, sum(entries) AS entries
        FROM book GROUP BY batch_id, day
    ), counted AS (
        SELECT batch_id, day, sum(credits) AS credits, sum(usd) AS usd
        FROM usage WHERE CAST(:batch AS text) IS NULL OR batch_id = CAST(:batch AS text)
        GROUP BY batch_id, day
    ), paid AS (
        SELECT payment.*, s.batch_id, s.state AS submission_state, s.account_pk AS submission_account_pk,
               s.evidence -> 'said' IS NOT NULL OR coalesce(s.settled_by IN ('person', 'write-off'), false) AS is_said,
               coalesce(committed.amount, 0) AS committed
        FROM payment JOIN submission s ON s.id = payment.submission_id
        LEFT JOIN (
            SELECT submission_id, sum(reserved + in_doubt + cost) AS amount FROM pair GROUP BY submission_id
        ) AS committed ON committed.submission_id = s.id
        WHERE CAST(:batch AS text) IS NULL OR s.batch_id = CAST(:batch AS text)
    ), at_provider AS (
        SELECT account_pk, batch_id, model, count(*) AS jobs, count(*) FILTER (WHERE state = 'submitting') AS submitting
        FROM item WHERE state IN ('submitting', 'generating') GROUP BY account_pk, batch_id, model
    ), counted_at_provider AS (
        SELECT account_pk, batch_id, model, sum(jobs) AS jobs, sum(submitting) AS submitting
        FROM in_flight WHERE CAST(:batch AS text) IS NULL OR batch_id = CAST(:batch AS text)
        GROUP BY account_pk, batch_id, model
    ), finding (rule, batch_id, job_pk, submission_id, expected, found) AS (
        SELECT 'movement', batch_id, job_pk, submission_id, 0, amount FROM entry
        WHERE (kind, from_book, to_book) NOT IN (
            ('reserve', 'available', 'reserved'), ('release', 'reserved', 'available'),
            ('release', 'in_doubt', 'available'), ('charge', 'reserved', 'spent'),
            ('charge', 'available', 'spent'), ('doubt', 'reserved', 'in_doubt'), ('clear', 'in_doubt', 'reserved'),
            ('loss', 'in_doubt', 'lost'), ('refund', 'lost', 'available'))
        UNION ALL
        SELECT 'misfiled', entry.batch_id, job.pk, entry.submission_id, 0, sum(amount)
        FROM entry JOIN job ON job.pk = entry.job_pk JOIN submission s ON s.id = entry.submission_id
        WHERE (entry.batch_id, entry.account_pk) <> (job.batch_id, job.account_pk)
           OR (entry.batch_id, entry.account_pk) <> (s.batch_id, s.account_pk)
        GROUP BY entry.batch_id, job.pk, entry.submission_id
        UNION ALL
        SELECT 'overdrawn', batch_id, job_pk, submission_id, 0, least(reserved, in_doubt, spent, lost)
        FROM book WHERE least(reserved, in_doubt, spent, lost) < 0
        UNION ALL
        SELECT told.rule, batch_id, job_pk, submission_id, told.expected, told.found
        FROM pair FULL JOIN due USING (batch_id, submission_id, job_pk)
        CROSS JOIN LATERAL (VALUES
            ('reserved', due.reserved, pair.reserved), ('in-doubt', due.in_doubt, pair.in_doubt)
        ) AS told (rule, expected, found)
        WHERE coalesce(told.expected, 0) <> coalesce(told.found, 0)
        UNION ALL
        SELECT 'charged', s.batch_id, NULL, s.id, s.charged, cost.found
        FROM submission s
        LEFT JOIN (SELECT submission_id, sum(cost) AS found FROM pair GROUP BY submission_id) AS cost
               ON cost.submission_id = s.id
        WHERE (CAST(:batch AS text) IS NULL OR s.batch_id = CAST(:batch AS text))
          AND s.state IN ('resolved', 'refused', 'not_sent') AND coalesce(s.charged, 0) <> coalesce(cost.found, 0)
        UNION ALL
        SELECT 'spent', item.batch_id, item.pk, item.submission_id, item.spent, cost.found
        FROM item
        LEFT JOIN (SELECT job_pk, sum(cost) AS found FROM pair GROUP BY job_pk) AS cost ON cost.job_pk = item.pk
        WHERE coalesce(item.spent, 0) <> coalesce(cost.found, 0)
        UNION ALL
        SELECT told.rule, batch_id, NULL, NULL, told.expected, told.found
        FROM of_items FULL JOIN of_batch USING (batch_id)
        CROSS JOIN LATERAL (VALUES
            ('batch-reserved', of_items.reserved, of_batch.reserved),
            ('batch-in-doubt', of_items.in_doubt, of_batch.in_doubt), ('batch-spent', of_items.cost, of_batch.cost)
        ) AS told (rule, expected, found)
        WHERE coalesce(told.expected, 0) <> coalesce(told.found, 0)
        UNION ALL
        SELECT 'usage', batch_id, NULL, NULL, counted.credits, of_day.credits
        FROM counted FULL JOIN of_day USING (batch_id, day)
        WHERE coalesce(counted.credits, 0) <> coalesce(of_day.credits, 0)
        UNION ALL  -- dollars are kept with six decimals: each entry may have been rounded
        SELECT 'usage-usd', batch_id, NULL, NULL, counted.usd, of_day.usd
        FROM counted FULL JOIN of_day USING (batch_id, day)
        WHERE abs(coalesce(counted.usd, 0) - coalesce(of_day.usd, 0)) > 0.000001 * coalesce(of_day.entries, 1)
        UNION ALL  -- a person may know better, such as of money that was given back; time knows less
        SELECT 'payment-amount', batch_id, NULL, submission_id,
               CASE state WHEN 'void' THEN 0 ELSE amount END, committed
        FROM paid
        WHERE committed <> CASE state WHEN 'void' THEN 0 ELSE amount END AND NOT is_said
        UNION ALL
        SELECT told.rule, batch_id, NULL, submission_id, 0, amount
        FROM paid CROSS JOIN LATERAL (VALUES
            ('payment-out', state = 'signed' AND submission_state NOT IN ('sent', 'unknown') AND NOT is_said),
            ('payment-signature', state <> 'signed' AND signed IS NOT NULL),
            ('payment-misfiled', account_pk <> submission_account_pk)
        ) AS told (rule, is_broken)
        WHERE told.is_broken
        UNION ALL
        SELECT 'payment-missing', s.batch_id, NULL, s.id, s.reserved, 0
        FROM submission s JOIN batch ON batch.id = s.batch_id
        WHERE (CAST(:batch AS text) IS NULL OR s.batch_id = CAST(:batch AS text))
          AND batch.payment IN ('x402-base', 'x402-solana') AND s.state IN ('sent', 'unknown', 'accepted')
          AND NOT EXISTS (SELECT FROM payment WHERE payment.submission_id = s.id)
        UNION ALL
        SELECT told.rule, batch_id, NULL, NULL, told.expected, told.found
        FROM at_provider FULL JOIN counted_at_provider AS counted USING (account_pk, batch_id, model)
        CROSS JOIN LATERAL (VALUES
            ('at-provider', at_provider.jobs, counted.jobs),
            ('submitting', at_provider.submitting, counted.submitting)
        ) AS told (rule, expected, found)
        WHERE coalesce(told.expected, 0) <> coalesce(told.found, 0)
    )
    SELECT finding.rule, finding.batch_id, job.name AS job, finding.submission_id,
           coalesce(finding.expected, 0) AS expected, coalesce(finding.found, 0) AS found, batch.payment
    FROM finding JOIN batch ON batch.id = finding.batch_id LEFT JOIN job ON job.pk = finding.job_pk
    ORDER BY finding.batch_id, job.ordinal NULLS LAST, finding.rule, finding.submission_id, expected, found
    """
)
