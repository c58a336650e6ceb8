"""Packs in the byte order of their keys, which is the order in which a bucket lists them (contracts, section 19)."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make walking all packs beside the bucket a walk along an index."""
    op.execute('CREATE INDEX pack_key ON pack (object_key COLLATE "C")')
