"""Flat claims: the jobs at the provider are counted as they move, and each queue has an index in its own order"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0006"
down_revision = "0005"
#: The oldest schema whose code can work on this one, too: what is counted here, triggers count for it. Until it is
#: exchanged, its polls and copies are found without an index of their own.
oldest_code = "0004"

_TEXT = sqlmodel.sql.sqltypes.AutoString()


def upgrade() -> None:
    # All of them at once, and first: workers go on meanwhile, in an order of their own.
    op.execute("LOCK TABLE batch, submission, job IN ACCESS EXCLUSIVE MODE")
    _count_in_flight()
    _order_the_queues()
    for table in ("job", "submission", "asset", "in_flight", "usage"):
        # A queue is walked over what is dead in it: it must not grow with the table, as the shipped share (0.2) does.
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
            "autovacuum_analyze_scale_factor = 0.05)"
        )


def _count_in_flight() -> None:
    op.create_table(
        "in_flight",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", _TEXT, nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("submitting", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("ix_in_flight_account", "in_flight", ["account_pk"])
    op.execute(COUNT_MOVED)
    op.execute(
        "CREATE TRIGGER job_in_flight AFTER UPDATE ON job REFERENCING OLD TABLE AS before NEW TABLE AS after "
        "FOR EACH STATEMENT EXECUTE FUNCTION count_moved_in_flight()"
    )
    op.execute(COUNT_MADE)
    op.execute(
        "CREATE TRIGGER job_made_in_flight AFTER INSERT ON job FOR EACH ROW "
        "WHEN (NEW.state IN ('submitting', 'generating')) EXECUTE FUNCTION count_made_in_flight()"
    )
    op.execute(COUNT_WHAT_IS_THERE)  # nothing has moved in between: the table is locked


def _order_the_queues() -> None:
    op.drop_index("ix_submission_poll_due", "submission")
    op.create_index(
        "ix_submission_poll_due", "submission", ["account_pk", "due_at"], postgresql_where=sa.text("state = 'accepted'")
    )
    op.drop_index("ix_job_copy_due", "job")
    op.create_index(
        "ix_job_copy_first",
        "job",
        ["account_pk", "source_expires_at", "pk"],
        postgresql_where=sa.text("state = 'copying' AND copy_failures = 0"),
    )
    op.create_index(
        "ix_job_copy_again",
        "job",
        ["account_pk", "due_at", "source_expires_at"],
        postgresql_where=sa.text("state = 'copying' AND copy_failures > 0"),
    )
    for table in ("job", "submission"):
        op.drop_index(f"ix_{table}_leased", table)
        op.create_index(
            f"ix_{table}_leased", table, ["lease_token"], postgresql_where=sa.text("lease_token IS NOT NULL")
        )
    op.create_index("ix_batch_running", "batch", ["account_pk"], postgresql_where=sa.text("state = 'running'"))


#: What a statement changes of the jobs at the provider. A row for all that it changes alike, not one for each job.
COUNT_MOVED = """
CREATE FUNCTION count_moved_in_flight() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO in_flight (account_pk, batch_id, model, jobs, submitting)
    SELECT account_pk, batch_id, model, sum(jobs), sum(submitting)
    FROM (
        SELECT account_pk, batch_id, model, 1 AS jobs, CAST(state = 'submitting' AS integer) AS submitting
        FROM after WHERE state IN ('submitting', 'generating')
        UNION ALL
        SELECT account_pk, batch_id, model, -1, -CAST(state = 'submitting' AS integer)
        FROM before WHERE state IN ('submitting', 'generating')
    ) AS moved
    GROUP BY account_pk, batch_id, model
    HAVING sum(jobs) <> 0 OR sum(submitting) <> 0;
    RETURN NULL;
END $$
"""
#: A job that is there from the start, as `db recover` makes it of a receipt.
COUNT_MADE = """
CREATE FUNCTION count_made_in_flight() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO in_flight (account_pk, batch_id, model, jobs, submitting)
    VALUES (NEW.account_pk, NEW.batch_id, NEW.model, 1, CAST(NEW.state = 'submitting' AS integer));
    RETURN NULL;
END $$
"""
COUNT_WHAT_IS_THERE = """
INSERT INTO in_flight (account_pk, batch_id, model, jobs, submitting)
SELECT account_pk, batch_id, model, count(*), count(*) FILTER (WHERE state = 'submitting')
FROM job WHERE state IN ('submitting', 'generating') GROUP BY account_pk, batch_id, model
"""
