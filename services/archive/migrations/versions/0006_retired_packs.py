"""Packs that compaction replaced: retired, then without an object; their rows stay for the receipts (section 19)."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Two moments for each pack."""
    op.execute("ALTER TABLE pack ADD COLUMN retired_at timestamptz, ADD COLUMN removed_at timestamptz")
    op.execute("CREATE INDEX pack_retired ON pack (retired_at) WHERE retired_at IS NOT NULL")
