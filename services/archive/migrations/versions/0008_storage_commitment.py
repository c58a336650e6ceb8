"""Storage commitment requests (docs/contracts.md, section 20): kept before they are answered, until they are reported."""

from alembic import op

revision = "0008"
down_revision = "0007"

# `instances` are pairs of SOP Class and SOP Instance UID; `outcome` counts what is committed and lists what is not.
_COMMITMENT = """
CREATE TABLE storage_commitment (
    institution     text NOT NULL,
    site            text NOT NULL,
    calling_ae      text NOT NULL,
    transaction_uid text NOT NULL,
    instances       jsonb NOT NULL,
    received_at     timestamptz NOT NULL,
    state           text NOT NULL CHECK (state IN ('WAITING', 'REPORTED', 'ABANDONED')),
    holder          text NOT NULL,
    due_at          timestamptz NOT NULL,
    lease_until     timestamptz NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    outcome         jsonb,
    closed_at       timestamptz,
    PRIMARY KEY (institution, calling_ae, transaction_uid)
);
CREATE INDEX storage_commitment_due ON storage_commitment (institution, due_at) WHERE state = 'WAITING';
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(_COMMITMENT)
