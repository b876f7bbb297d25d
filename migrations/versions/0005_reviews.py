"""Reviews: what people decided about results"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0005"
down_revision = "0004"
#: The oldest schema whose code can work on this one, too: it knows nothing of reviews, and need not.
oldest_code = "0004"

_TEXT = sqlmodel.sql.sqltypes.AutoString()


def upgrade() -> None:
    op.create_table(
        "review",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_pk", sa.BigInteger(), nullable=False),
        sa.Column("decision", _TEXT, nullable=False),
        sa.Column("asset_sha256", _TEXT, nullable=False),
        sa.Column("note", _TEXT, nullable=True),
        sa.Column("take_key", _TEXT, nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "actor",
            _TEXT,
            server_default=sa.text("nullif(current_setting('orchestrator.actor', true), '')"),
            nullable=True,
        ),
        sa.CheckConstraint("decision IN ('accept', 'reject', 'take')", name="decision_known"),
        sa.CheckConstraint("(decision = 'take') = (take_key IS NOT NULL)", name="take_has_key"),
        sa.ForeignKeyConstraint(["job_pk"], ["job.pk"]),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index("ix_review_job", "review", ["job_pk", "pk"])
    op.create_index(
        "ix_review_take",
        "review",
        ["job_pk", "asset_sha256"],
        unique=True,
        postgresql_where=sa.text("decision = 'take'"),
    )
