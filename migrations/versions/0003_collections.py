"""Collections: fingerprints and reuse, chains of jobs, gates, schedules, notifications"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0003"
down_revision = "0002"

_MONEY = sa.Numeric(precision=20, scale=6)
_TEXT = sqlmodel.sql.sqltypes.AutoString()
_JSONB = sa.dialects.postgresql.JSONB
_INSTANT = sa.DateTime(timezone=True)
_TRANSITIONS = (
    ("job", "waiting", "failed"),
    ("job", "failed", "waiting"),
    ("job", "rejected", "waiting"),
    ("job", "skipped", "waiting"),
)


def upgrade() -> None:
    _extend_batches_and_holds()
    _extend_jobs()
    _create_schedules()
    _create_notifications()
    op.bulk_insert(
        sa.table("transition", sa.column("entity"), sa.column("from_state"), sa.column("to_state")),
        [dict(zip(("entity", "from_state", "to_state"), one, strict=True)) for one in _TRANSITIONS],
    )


def _extend_batches_and_holds() -> None:
    op.add_column("batch", sa.Column("submit_key", _TEXT, nullable=True))
    op.add_column("batch", sa.Column("partial", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("batch", sa.Column("notify", _JSONB(), server_default=sa.text("'[]'"), nullable=False))
    op.create_unique_constraint("batch_account_pk_submit_key_key", "batch", ["account_pk", "submit_key"])
    op.drop_constraint("code_known", "hold")
    op.create_check_constraint(
        "code_known",
        "hold",
        "code IN ('in-doubt', 'budget-reached', 'balance-low', 'canary', 'price-changed', 'stop-when', 'gate', "
        "'unusual-work', 'destination-failing', 'provider-refusing')",
    )


def _extend_jobs() -> None:
    for column in (
        sa.Column("fingerprint", _TEXT, nullable=True),
        sa.Column("row", _JSONB(), nullable=True),
        sa.Column("gate", _TEXT, nullable=True),
        sa.Column("reused_from_pk", sa.BigInteger(), nullable=True),
        sa.Column("dependents_due", sa.Boolean(), server_default="false", nullable=False),
    ):
        op.add_column("job", column)
    op.create_foreign_key("job_reused_from_pk_fkey", "job", "job", ["reused_from_pk"], ["pk"])
    op.create_index("ix_job_fingerprint", "job", ["account_pk", "fingerprint"])
    op.drop_constraint("waits_for_known", "job")
    op.create_check_constraint("waits_for_known", "job", "waits_for IN ('canary', 'dependency', 'gate')")
    op.create_check_constraint("gate_known", "job", "gate IN ('manual', 'approved', 'rejected')")
    op.drop_constraint("paid_has_submission", "job")
    op.create_check_constraint(
        "paid_has_submission",
        "job",
        "(submission_id IS NOT NULL) OR (reused_from_pk IS NOT NULL AND state = 'completed') OR state NOT IN "
        "('submitting', 'generating', 'copying', 'completed', 'in_doubt')",
    )
    op.create_table(
        "job_need",
        sa.Column("job_pk", sa.BigInteger(), nullable=False),
        sa.Column("needed_pk", sa.BigInteger(), nullable=False),
        sa.Column("role", _TEXT, nullable=False),
        sa.CheckConstraint("role IN ('original', 'final_frame')", name="role_known"),
        sa.ForeignKeyConstraint(["job_pk"], ["job.pk"]),
        sa.ForeignKeyConstraint(["needed_pk"], ["job.pk"]),
        sa.PrimaryKeyConstraint("job_pk", "needed_pk", "role"),
    )
    op.create_index("ix_job_need_needed", "job_need", ["needed_pk"])
    op.create_index(
        "ix_job_dependents_due",
        "job",
        ["batch_id", "pk"],
        postgresql_where=sa.text(
            "dependents_due AND state IN ('completed', 'failed', 'rejected', 'cancelled', 'skipped')"
        ),
    )


def _create_schedules() -> None:
    op.create_table(
        "schedule",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("manifest", _TEXT, nullable=False),
        sa.Column("cron", _TEXT, nullable=False),
        sa.Column("tz", _TEXT, nullable=False),
        sa.Column("heartbeat", _TEXT, nullable=True),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("next_at", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["account_pk"], ["account.pk"]),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("account_pk", "name"),
    )
    op.create_table(
        "schedule_run",
        sa.Column("schedule_pk", sa.BigInteger(), nullable=False),
        sa.Column("slot", _INSTANT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("batch_id", _TEXT, nullable=True),
        sa.Column("new_credits", _MONEY, nullable=True),
        sa.Column("message", _TEXT, nullable=True),
        sa.CheckConstraint("state IN ('started', 'submitted', 'skipped', 'failed')", name="state_known"),
        sa.ForeignKeyConstraint(["schedule_pk"], ["schedule.pk"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"]),
        sa.PrimaryKeyConstraint("schedule_pk", "slot"),
    )
    op.create_index("ix_schedule_run_batch", "schedule_run", ["batch_id"])


def _create_notifications() -> None:
    op.create_table(
        "notification",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", _TEXT, nullable=True),
        sa.Column("url", _TEXT, nullable=False),
        sa.Column("style", _TEXT, nullable=False),
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("occasion", _TEXT, nullable=False),
        sa.Column("body", _JSONB(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("due_at", _INSTANT, nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivered_at", _INSTANT, nullable=True),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(["account_pk"], ["account.pk"]),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_notification_due", "notification", ["due_at"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index(
        "ix_notification_undelivered",
        "notification",
        ["batch_id"],
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
