"""Wrapped data keys (docs/contracts.md, section 18): a copy of the bucket's, without the keys that open them."""

from alembic import op

revision = "0003"
down_revision = "0002"

_DATA_KEY = """
CREATE TABLE data_key (
    institution     text NOT NULL,
    key_id          text NOT NULL,
    wrapping_key_id text NOT NULL,
    document        bytea NOT NULL,
    PRIMARY KEY (institution, key_id, wrapping_key_id)
);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(_DATA_KEY)
