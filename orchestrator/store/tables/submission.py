"""Paid requests, and the signed payments that some of them carry."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field

from orchestrator.base.payments import Network
from orchestrator.base.states import PaymentState, SettledBy, SubmissionState
from orchestrator.store.tables.columns import (
    CURRENT_ACTOR,
    Row,
    document,
    due_index,
    instant,
    money,
    one_of,
    reference,
    table_of,
)


class Submission(Row, table=True):
    """One paid POST of ours; `due_at` is its next poll."""

    __table_args__ = (
        one_of("state", SubmissionState),
        one_of("settled_by", SettledBy),
        UniqueConstraint("account_pk", "request_id"),
        CheckConstraint("state <> 'accepted' OR request_id IS NOT NULL", name="accepted_has_request_id"),
        CheckConstraint("state <> 'sent' OR body_sha256 IS NOT NULL", name="sent_has_body"),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        Index("ix_submission_batch", "batch_id"),
        due_index("ix_submission_poll_due", "accepted", "account_pk", "due_at"),
        due_index("ix_submission_in_doubt", "unknown", "account_pk", "sent_at"),
        Index("ix_submission_leased", "lease_token", postgresql_where=text("lease_token IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True)
    batch_id: str = reference("batch.id")
    account_pk: int = reference("account.pk")
    state: str
    reserved: Decimal = money()
    charged: Decimal | None = money(nullable=True)
    settled_by: str | None = None
    evidence: dict[str, Any] | None = document(nullable=True)
    body_sha256: str | None = None
    request_id: str | None = None
    provider_status: str | None = None
    answer: dict[str, Any] | None = document(nullable=True)
    polls: int = 0
    poll_failures: int = 0
    not_found_since: datetime | None = instant()
    due_at: datetime | None = instant()
    lease_token: UUID | None = None
    lease_owner: int | None = None
    lease_until: datetime | None = instant()
    created_at: datetime = instant(nullable=False)
    sent_at: datetime | None = instant()
    accepted_at: datetime | None = instant()
    ended_at: datetime | None = instant()


class PaymentRow(Row, table=True):
    """One signed USDC payment: for a submission, or (`submission_id` null) to top up a wallet's balance.

    `signed` is the value of its header: as good as money until it has settled or is void, and null from then on.
    `nonce` identifies it on chain: the authorization's nonce on Base, our owner signature on Solana. It cannot settle
    after `valid_before` (Base, by the chain's clock), or up to the slot `after_slot` and above the block height
    `last_valid_height` (Solana). `credited` is what a top-up adds to the balance, and `told_at` when a person was told
    that it is there; `due_at` when to send it again or to look at the chain next.
    """

    __tablename__ = "payment"
    __table_args__ = (
        one_of("state", PaymentState),
        one_of("network", Network),
        CheckConstraint("state = 'signed' OR signed IS NULL", name="signature_removed"),
        CheckConstraint("(submission_id IS NULL) = (credited IS NOT NULL)", name="one_purpose"),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        UniqueConstraint("submission_id"),
        UniqueConstraint("network", "nonce"),
        due_index("ix_payment_due", "signed", "account_pk", "due_at"),
    )
    id: UUID = Field(primary_key=True)
    account_pk: int = reference("account.pk")
    submission_id: UUID | None = reference("submission.id", nullable=True)
    state: str
    network: str
    payer: str
    pay_to: str
    asset: str
    amount: Decimal = money()
    credited: Decimal | None = money(nullable=True)
    signed: str | None = None
    nonce: str
    valid_before: datetime | None = instant()
    last_valid_height: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    after_slot: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    sends: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    due_at: datetime | None = instant()
    lease_token: UUID | None = None
    lease_owner: int | None = None
    lease_until: datetime | None = instant()
    transaction: str | None = None
    receipt: dict[str, Any] | None = document(nullable=True)
    evidence: dict[str, Any] | None = document(nullable=True)
    actor: str | None = Field(default=None, sa_column_kwargs={"server_default": CURRENT_ACTOR})
    created_at: datetime = instant(nullable=False)
    ended_at: datetime | None = instant()
    told_at: datetime | None = instant()


submissions = table_of(Submission)
payments = table_of(PaymentRow)
