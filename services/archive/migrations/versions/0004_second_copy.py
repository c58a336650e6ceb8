"""When each pack was copied to the second site; null: it waits (docs/contracts.md, section 18)."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; every pack that is there waits."""
    op.execute("ALTER TABLE pack ADD COLUMN copied_at timestamptz")
    op.execute("CREATE INDEX pack_uncopied ON pack (committed_at, pack_id) WHERE copied_at IS NULL")
