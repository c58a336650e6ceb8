"""Tombstones name studies and series too, and the document that they come from (contracts, section 17).

Rows of the first revision name one version of an instance without its study, and hide it for ever: so they
go on doing, with an empty study and no document.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    """ALTER TABLE tombstone
        ADD COLUMN study_uid  text NOT NULL DEFAULT '',
        ADD COLUMN series_uid text NOT NULL DEFAULT '',
        ADD COLUMN code       text NOT NULL DEFAULT '',
        ADD COLUMN until      timestamptz,
        ADD COLUMN document   text NOT NULL DEFAULT '',
        DROP CONSTRAINT tombstone_pkey,
        ADD PRIMARY KEY (institution, study_uid, series_uid, sop_instance_uid, digest, document)""",
    "CREATE INDEX tombstone_of_instance ON tombstone (institution, sop_instance_uid)",
    "CREATE INDEX tombstone_document ON tombstone (document) WHERE document <> ''",
)


def upgrade() -> None:
    """Widen the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
