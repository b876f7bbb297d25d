"""The first schema"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("origin", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("throttles", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("origin", "account"),
    )
    op.create_table(
        "catalog",
        sa.Column("digest", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("source", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "event",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("batch_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("entity", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("entity_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("from_state", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("to_state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("pk"),
    )
    op.create_index(op.f("ix_event_batch_id"), "event", ["batch_id"], unique=False)
    op.create_table(
        "batch",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("destination", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("media", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("key", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("bundle", sa.Integer(), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("manifest", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("catalog_digest", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("estimated", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("budget", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("usd_per_credit", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("index_due", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('completed', 'partial_failure', 'failed', 'cancelled'))",
            name="finished_iff_ended",
        ),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'held', 'completed', 'partial_failure', 'failed', 'cancelled')",
            name="state_known",
        ),
        sa.ForeignKeyConstraint(
            ["account_pk"],
            ["account.pk"],
        ),
        sa.ForeignKeyConstraint(
            ["catalog_digest"],
            ["catalog.digest"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_batch_name"), "batch", ["name"], unique=False)
    op.create_table(
        "hold",
        sa.Column("batch_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("code", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("command", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.CheckConstraint(
            "code IN ('in-doubt', 'budget-reached', 'balance-low', 'destination-failing', 'provider-refusing')",
            name="code_known",
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batch.id"],
        ),
        sa.PrimaryKeyConstraint("batch_id", "code"),
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("reserved", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("charged", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("body_sha256", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("request_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("provider_status", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("answer", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("poll_failures", sa.Integer(), nullable=False),
        sa.Column("not_found_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_owner", sa.Integer(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state <> 'accepted' OR request_id IS NOT NULL", name="accepted_has_request_id"),
        sa.CheckConstraint("state <> 'sent' OR body_sha256 IS NOT NULL", name="sent_has_body"),
        sa.CheckConstraint(
            "state IN ('intended', 'sent', 'accepted', 'refused', 'not_sent', 'unknown', 'resolved')",
            name="state_known",
        ),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        sa.ForeignKeyConstraint(
            ["account_pk"],
            ["account.pk"],
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batch.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_pk", "request_id"),
    )
    op.create_index("ix_submission_batch", "submission", ["batch_id"], unique=False)
    op.create_index(
        "ix_submission_leased",
        "submission",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index(
        "ix_submission_poll_due",
        "submission",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'accepted'"),
    )
    op.create_table(
        "job",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("batch_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_pk", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("type", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("model", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("item", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("estimate", sa.Numeric(precision=20, scale=6), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("spent", sa.Numeric(precision=20, scale=6), nullable=True),
        sa.Column("error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("copy_failures", sa.Integer(), nullable=False),
        sa.Column("copy_error", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("source_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_owner", sa.Integer(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(submission_id IS NOT NULL) OR "
            "state NOT IN ('submitting', 'generating', 'copying', 'completed', 'in_doubt')",
            name="paid_has_submission",
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'pending', 'submitting', 'generating', 'copying', 'completed', 'failed', 'rejected', "
            "'in_doubt', 'cancelled', 'skipped')",
            name="state_known",
        ),
        sa.CheckConstraint("state NOT IN ('failed', 'rejected') OR error IS NOT NULL", name="failure_has_error"),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        sa.ForeignKeyConstraint(
            ["account_pk"],
            ["account.pk"],
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batch.id"],
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submission.id"],
        ),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("batch_id", "name"),
        sa.UniqueConstraint("batch_id", "ordinal"),
    )
    op.create_index("ix_job_batch_state", "job", ["batch_id", "state"], unique=False)
    op.create_index(
        "ix_job_copy_due",
        "job",
        ["source_expires_at", "pk"],
        unique=False,
        postgresql_where=sa.text("state = 'copying'"),
    )
    op.create_index(
        "ix_job_in_flight",
        "job",
        ["account_pk"],
        unique=False,
        postgresql_where=sa.text("state IN ('submitting', 'generating')"),
    )
    op.create_index(
        "ix_job_leased",
        "job",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index("ix_job_submission", "job", ["submission_id"], unique=False)
    op.create_index(
        "ix_job_submit_due",
        "job",
        ["batch_id", "due_at", "pk"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "asset",
        sa.Column("pk", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_pk", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("source_url", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("source_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("declared_mime", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("tags", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("key", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("uri", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("sha256", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("mime_type", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("stored_at IS NULL OR (uri IS NOT NULL AND sha256 IS NOT NULL)", name="stored_is_whole"),
        sa.ForeignKeyConstraint(
            ["job_pk"],
            ["job.pk"],
        ),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("job_pk", "position", "role"),
    )
    op.execute(CLOCK)
    op.create_table(
        "transition",
        sa.Column("entity", sa.String(), primary_key=True),
        sa.Column("from_state", sa.String(), primary_key=True),
        sa.Column("to_state", sa.String(), primary_key=True),
    )
    op.bulk_insert(
        sa.table("transition", sa.column("entity"), sa.column("from_state"), sa.column("to_state")),
        [
            {"entity": entity, "from_state": source, "to_state": target}
            for entity, table in TRANSITIONS.items()
            for source, targets in table.items()
            for target in targets.split()
        ],
    )
    op.execute(RECORD_TRANSITION)
    # A new job is always pending and comes with its batch: a hundred thousand events would say nothing more.
    for entity, when in (("batch", "INSERT OR UPDATE"), ("submission", "INSERT OR UPDATE"), ("job", "UPDATE")):
        op.execute(
            f"CREATE TRIGGER {entity}_transition AFTER {when} OF state ON {entity} "
            "FOR EACH ROW EXECUTE FUNCTION record_transition()"
        )
    op.execute("CREATE SEQUENCE worker_number AS integer CYCLE")


#: Every allowed transition as of this schema: entity, from, to (several, separated by spaces).
TRANSITIONS = {
    "batch": {
        "running": "cancelled completed failed held partial_failure paused",
        "paused": "cancelled completed failed held partial_failure running",
        "held": "cancelled completed failed partial_failure paused running",
        "partial_failure": "running",
        "failed": "running",
    },
    "job": {
        "waiting": "cancelled pending skipped",
        "pending": "cancelled skipped submitting waiting",
        "submitting": "generating in_doubt pending rejected",
        "generating": "copying failed rejected",
        "copying": "completed failed",
        "in_doubt": "failed generating pending rejected",
        "failed": "pending",
        "rejected": "pending",
        "skipped": "pending",
    },
    "submission": {
        "intended": "not_sent sent",
        "sent": "accepted not_sent refused unknown",
        "accepted": "resolved",
        "unknown": "accepted resolved",
    },
}

#: A function, so that a test database can put its own clock in its place.
CLOCK = """
CREATE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT statement_timestamp()'
"""

#: Refuses a transition that the table does not list, and writes every other one down.
RECORD_TRANSITION = """
CREATE FUNCTION record_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch text;
    entity_name text;
    before text := NULL;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = NEW.state THEN
            RETURN NULL;
        END IF;
        before := OLD.state;
        IF NOT EXISTS (
            SELECT FROM transition
            WHERE entity = TG_TABLE_NAME AND from_state = OLD.state AND to_state = NEW.state
        ) THEN
            RAISE EXCEPTION 'no transition of % from % to %', TG_TABLE_NAME, OLD.state, NEW.state
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF TG_TABLE_NAME = 'job' THEN
        batch := NEW.batch_id;
        entity_name := NEW.name;
    ELSIF TG_TABLE_NAME = 'submission' THEN
        batch := NEW.batch_id;
        entity_name := NEW.id;
    ELSE
        batch := NEW.id;
        entity_name := NEW.id;
    END IF;
    INSERT INTO event (at, batch_id, entity, entity_id, from_state, to_state, actor)
    VALUES (orchestrator_now(), batch, TG_TABLE_NAME, entity_name, before, NEW.state,
            nullif(current_setting('orchestrator.actor', true), ''));
    RETURN NULL;
END $$
"""
