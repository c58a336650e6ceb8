"""The metadata of each series as one gzipped blob, and which blobs are out of date.

A trigger notes every change of a series' instances, whoever makes it and why, so that no writer can forget:
`version` is the transaction that changed them last, `built` the one that `content` was made after. One
transaction notes a series once, however many statements it takes.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

_TABLE = """
CREATE TABLE series_metadata (
    series     bigint PRIMARY KEY REFERENCES series ON DELETE CASCADE,
    version    bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    built      bigint,
    etag       text,
    content    bytea
);
ALTER TABLE series_metadata ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX series_metadata_due ON series_metadata (changed_at) WHERE built IS DISTINCT FROM version;
INSERT INTO series_metadata (series, version, changed_at) SELECT id, 0, now() FROM series;
"""
# In the order of the series, so that two writers of several series cannot wait for each other.
_FUNCTION = """
CREATE FUNCTION note_changed_series() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO series_metadata (series, version, changed_at)
        SELECT id, pg_current_xact_id()::text::bigint, now() FROM series
        WHERE id IN (SELECT changed.series FROM changed) ORDER BY id
    ON CONFLICT (series) DO UPDATE SET version = EXCLUDED.version, changed_at = EXCLUDED.changed_at, built = NULL
        WHERE series_metadata.version <> EXCLUDED.version;
    RETURN NULL;
END $$;
"""
_TRIGGERS = [
    f"""CREATE TRIGGER instance_{event.lower()}_noted AFTER {event} ON instance
    REFERENCING {table} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_changed_series();"""
    for event, table in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))
]


def upgrade() -> None:
    """Create table, function and triggers."""
    for statement in (_TABLE, _FUNCTION, *_TRIGGERS):
        op.execute(statement)
