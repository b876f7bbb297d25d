"""Money safety: ledger, caps, pacing, readings of the balance, canaries"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0002"
down_revision = "0001"

_MONEY = sa.Numeric(precision=20, scale=6)
_SHARE = sa.Numeric(precision=7, scale=6)
_TEXT = sqlmodel.sql.sqltypes.AutoString()


def upgrade() -> None:
    _extend_accounts()
    _extend_batches_and_holds()
    _extend_submissions_and_jobs()
    _create_ledger()
    op.execute(RECORD_USAGE)
    op.execute(
        "CREATE TRIGGER ledger_usage AFTER INSERT ON ledger REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION record_usage()"
    )
    for statement in OPEN_THE_BOOKS:
        op.execute(statement)


def _extend_accounts() -> None:
    for column in (
        sa.Column("daily_cap", _MONEY, nullable=True),
        sa.Column("daily_unit", _TEXT, nullable=True),
        sa.Column("monthly_cap", _MONEY, nullable=True),
        sa.Column("monthly_unit", _TEXT, nullable=True),
        sa.Column("breaker_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("breaker_poll_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("breaker_opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("breaker_probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("breaker_closed_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("account", column)
    op.drop_column("account", "paused_until")  # in `pace` from now on; a pause lasts minutes at most
    op.drop_column("account", "throttles")
    op.create_check_constraint("daily_whole", "account", "(daily_cap IS NULL) = (daily_unit IS NULL)")
    op.create_check_constraint("monthly_whole", "account", "(monthly_cap IS NULL) = (monthly_unit IS NULL)")
    op.create_check_constraint(
        "unit_known", "account", "daily_unit IN ('credits', 'usd') AND monthly_unit IN ('credits', 'usd')"
    )
    op.create_table(
        "pace",
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("room", sa.Float(), nullable=False),
        sa.Column("recovering", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("throttles", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_pk"], ["account.pk"]),
        sa.PrimaryKeyConstraint("account_pk", "model"),
    )
    op.create_table(
        "reading",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("credits", _MONEY, nullable=False),
        sa.Column("quiet", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_pk"], ["account.pk"]),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("ix_reading_account", "reading", ["account_pk", "at"])


def _extend_batches_and_holds() -> None:
    for column in (
        sa.Column("price_tolerance", _SHARE, server_default="0", nullable=False),
        sa.Column("canary", sa.Integer(), nullable=True),
        sa.Column("stop_when_failed_over", _SHARE, nullable=True),
        sa.Column("forgiven_failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("forgiven_ended", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("batch", column)
    op.add_column("hold", sa.Column("blocking", sa.Boolean(), server_default="true", nullable=False))
    op.drop_constraint("code_known", "hold")
    op.create_check_constraint(
        "code_known",
        "hold",
        "code IN ('in-doubt', 'budget-reached', 'balance-low', 'canary', 'price-changed', 'stop-when', "
        "'destination-failing', 'provider-refusing')",
    )


def _extend_submissions_and_jobs() -> None:
    op.add_column("submission", sa.Column("settled_by", _TEXT, nullable=True))
    op.add_column("submission", sa.Column("evidence", sa.dialects.postgresql.JSONB(), nullable=True))
    op.create_check_constraint(
        "settled_by_known", "submission", "settled_by IN ('provider', 'assumed', 'balance', 'person', 'write-off')"
    )
    op.create_index(
        "ix_submission_in_doubt",
        "submission",
        ["account_pk", "sent_at"],
        postgresql_where=sa.text("state = 'unknown'"),
    )
    op.add_column("job", sa.Column("price", _MONEY, nullable=True))
    op.add_column("job", sa.Column("waits_for", _TEXT, nullable=True))
    op.create_check_constraint("waits_for_known", "job", "waits_for IN ('canary')")
    op.drop_index("ix_job_submit_due", "job")
    op.create_index(
        "ix_job_submit_due",
        "job",
        ["batch_id", "model", "due_at", "pk"],
        postgresql_where=sa.text("state = 'pending'"),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", _TEXT, nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("job_pk", sa.BigInteger(), nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("from_book", _TEXT, nullable=False),
        sa.Column("to_book", _TEXT, nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("usd_per_credit", _MONEY, nullable=False),
        sa.Column(
            "actor",
            _TEXT,
            server_default=sa.text("nullif(current_setting('orchestrator.actor', true), '')"),
            nullable=True,
        ),
        sa.CheckConstraint(
            "kind IN ('reserve', 'charge', 'release', 'doubt', 'clear', 'loss', 'refund')", name="kind_known"
        ),
        sa.CheckConstraint(
            "from_book IN ('available', 'reserved', 'in_doubt', 'spent', 'lost')", name="from_book_known"
        ),
        sa.CheckConstraint("to_book IN ('available', 'reserved', 'in_doubt', 'spent', 'lost')", name="to_book_known"),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
        sa.CheckConstraint("from_book <> to_book", name="books_differ"),
        sa.ForeignKeyConstraint(["account_pk"], ["account.pk"]),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"]),
        sa.ForeignKeyConstraint(["submission_id"], ["submission.id"]),
        sa.ForeignKeyConstraint(["job_pk"], ["job.pk"]),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("ix_ledger_submission", "ledger", ["submission_id", "job_pk"])
    op.create_index("ix_ledger_batch", "ledger", ["batch_id"])
    op.create_index("ix_ledger_account_at", "ledger", ["account_pk", "at"])
    op.create_index(
        "ix_ledger_lost",
        "ledger",
        ["batch_id"],
        postgresql_where=sa.text("from_book = 'lost' OR to_book = 'lost'"),
    )
    op.create_table(
        "usage",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", _TEXT, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("credits", _MONEY, nullable=False),
        sa.Column("usd", _MONEY, nullable=False),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("ix_usage_account", "usage", ["account_pk", "day"])
    op.create_index("ix_usage_batch", "usage", ["batch_id"])


#: What a statement adds to the ledger changes the committed money of its batches and days.
RECORD_USAGE = """
CREATE FUNCTION record_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage (account_pk, batch_id, day, credits, usd)
    SELECT account_pk, batch_id, day, sum(delta), sum(delta * usd_per_credit)
    FROM (
        SELECT account_pk, batch_id, day, usd_per_credit,
               CASE WHEN from_book = 'available' THEN amount WHEN to_book = 'available' THEN -amount END AS delta
        FROM added
    ) AS moved
    WHERE delta IS NOT NULL
    GROUP BY account_pk, batch_id, day
    HAVING sum(delta) <> 0;
    RETURN NULL;
END $$
"""

_OPENING = """
    INSERT INTO ledger (at, day, account_pk, batch_id, submission_id, job_pk, kind, from_book, to_book, amount,
                        usd_per_credit)
    SELECT {at}, (s.created_at AT TIME ZONE 'UTC')::date, j.account_pk, j.batch_id, s.id, j.pk,
           '{kind}', '{source}', '{target}', coalesce(j.spent, j.estimate), b.usd_per_credit
    FROM job j JOIN submission s ON s.id = j.submission_id JOIN batch b ON b.id = j.batch_id
    WHERE s.state NOT IN ('refused', 'not_sent') AND coalesce(j.spent, j.estimate) > 0 AND {condition}
      AND (s.state <> 'resolved' OR j.spent IS NOT NULL)
"""
#: The books of what was submitted before there were any.
OPEN_THE_BOOKS = (
    _OPENING.format(at="s.created_at", kind="reserve", source="available", target="reserved", condition="true"),
    _OPENING.format(
        at="coalesce(s.ended_at, s.accepted_at, s.created_at)",
        kind="charge",
        source="reserved",
        target="spent",
        condition="j.spent IS NOT NULL",
    ),
    _OPENING.format(
        at="coalesce(s.sent_at, s.created_at)",
        kind="doubt",
        source="reserved",
        target="in_doubt",
        condition="s.state = 'unknown' AND j.spent IS NULL",
    ),
)
