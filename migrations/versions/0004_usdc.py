"""USDC: the unit of an account, signed payments, pinned recipients, results that come with the answer"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0004"
down_revision = "0003"
#: The oldest schema whose code can work on this one, too.
oldest_code = "0004"

_MONEY = sa.Numeric(precision=20, scale=6)
_TEXT = sqlmodel.sql.sqltypes.AutoString()
_JSONB = sa.dialects.postgresql.JSONB
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("account", sa.Column("unit", _TEXT, server_default="credits", nullable=False))
    op.create_check_constraint("account_unit_known", "account", "unit IN ('credits', 'usdc')")
    op.add_column("batch", sa.Column("payment", _TEXT, server_default="credits", nullable=False))
    op.create_check_constraint(
        "payment_known",
        "batch",
        "payment IN ('credits', 'x402-base', 'x402-solana', 'wallet-base', 'wallet-solana')",
    )
    op.add_column("batch", sa.Column("work_credits", _MONEY, nullable=True))
    op.alter_column("batch", "price_tolerance", nullable=True, server_default=None)
    op.add_column("job", sa.Column("work_credits", _MONEY, nullable=True))
    op.add_column("job", sa.Column("agreed", _MONEY, nullable=True))
    op.add_column("asset", sa.Column("content", _TEXT, nullable=True))
    op.create_check_constraint(
        "one_source", "asset", "(source_url <> '') <> (content IS NOT NULL) OR stored_at IS NOT NULL"
    )
    _extend_words()
    _create_payments()


def _extend_words() -> None:
    op.drop_constraint("code_known", "hold")
    op.create_check_constraint(
        "code_known",
        "hold",
        "code IN ('in-doubt', 'budget-reached', 'balance-low', 'canary', 'price-changed', 'stop-when', 'gate', "
        "'unusual-work', 'payment-refused', 'destination-failing', 'provider-refusing')",
    )
    op.drop_constraint("settled_by_known", "submission")
    op.create_check_constraint(
        "settled_by_known",
        "submission",
        "settled_by IN ('provider', 'assumed', 'balance', 'chain', 'transactions', 'person', 'write-off')",
    )


def _create_payments() -> None:
    op.create_table(
        "payment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("network", _TEXT, nullable=False),
        sa.Column("payer", _TEXT, nullable=False),
        sa.Column("pay_to", _TEXT, nullable=False),
        sa.Column("asset", _TEXT, nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("credited", _MONEY, nullable=True),
        sa.Column("signed", _TEXT, nullable=True),
        sa.Column("nonce", _TEXT, nullable=False),
        sa.Column("valid_before", _INSTANT, nullable=True),
        sa.Column("last_valid_height", sa.BigInteger(), nullable=True),
        sa.Column("after_slot", sa.BigInteger(), nullable=True),
        sa.Column("sends", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", _INSTANT, nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_owner", sa.Integer(), nullable=True),
        sa.Column("lease_until", _INSTANT, nullable=True),
        sa.Column("transaction", _TEXT, nullable=True),
        sa.Column("receipt", _JSONB(), nullable=True),
        sa.Column("evidence", _JSONB(), nullable=True),
        sa.Column(
            "actor",
            _TEXT,
            server_default=sa.text("nullif(current_setting('orchestrator.actor', true), '')"),
            nullable=True,
        ),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("told_at", _INSTANT, nullable=True),
        sa.CheckConstraint("state IN ('signed', 'settled', 'void')", name="state_known"),
        sa.CheckConstraint("network IN ('base', 'solana')", name="network_known"),
        sa.CheckConstraint("state = 'signed' OR signed IS NULL", name="signature_removed"),
        sa.CheckConstraint("(submission_id IS NULL) = (credited IS NOT NULL)", name="one_purpose"),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        sa.ForeignKeyConstraint(["account_pk"], ["account.pk"]),
        sa.ForeignKeyConstraint(["submission_id"], ["submission.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("network", "nonce"),
        sa.UniqueConstraint("submission_id"),
    )
    op.create_index("ix_payment_due", "payment", ["account_pk", "due_at"], postgresql_where=sa.text("state = 'signed'"))
    op.create_table(
        "payee",
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("network", _TEXT, nullable=False),
        sa.Column("address", _TEXT, nullable=False),
        sa.Column("pinned_at", _INSTANT, nullable=False),
        sa.CheckConstraint("network IN ('base', 'solana')", name="network_known"),
        sa.PrimaryKeyConstraint("origin", "network"),
    )
