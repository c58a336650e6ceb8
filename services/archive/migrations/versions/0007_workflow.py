"""Worklist entries and performed steps (docs/contracts.md, section 11). No pack holds them: backups do."""

from alembic import op

revision = "0007"
down_revision = "0006"

# `document` is the order as it was handed in; the other columns are what SQL narrows by.
_ENTRY = """
CREATE TABLE worklist_entry (
    institution       text NOT NULL,
    site              text NOT NULL,
    entry_id          text NOT NULL,
    state             text NOT NULL CHECK (state IN ('SCHEDULED', 'STARTED', 'COMPLETED', 'DISCONTINUED', 'CANCELLED')),
    station_ae_titles text[] NOT NULL,
    modality          text NOT NULL,
    start_at          timestamp NOT NULL,
    patient_id        text NOT NULL,
    accession_number  text NOT NULL,
    study_uid         text NOT NULL,
    step_id           text NOT NULL,
    performed_step    text,
    document          jsonb NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    changed_at        timestamptz NOT NULL,
    PRIMARY KEY (institution, entry_id)
);
CREATE INDEX worklist_entry_open ON worklist_entry (start_at, institution, entry_id)
    WHERE state IN ('SCHEDULED', 'STARTED');
CREATE INDEX worklist_entry_start ON worklist_entry (institution, start_at);
CREATE INDEX worklist_entry_step ON worklist_entry (institution, step_id);
"""

# `attributes` is DICOM JSON; bytes, since what a modality sends may hold what jsonb refuses.
_STEP = """
CREATE TABLE performed_step (
    institution      text NOT NULL,
    site             text NOT NULL,
    sop_instance_uid text NOT NULL,
    status           text NOT NULL CHECK (status IN ('IN PROGRESS', 'COMPLETED', 'DISCONTINUED')),
    calling_ae       text NOT NULL,
    study_uids       text[] NOT NULL,
    attributes       bytea NOT NULL,
    created_at       timestamptz NOT NULL,
    changed_at       timestamptz NOT NULL,
    PRIMARY KEY (institution, sop_instance_uid)
);
CREATE INDEX performed_step_changed ON performed_step (institution, changed_at DESC);
CREATE INDEX performed_step_study ON performed_step USING gin (study_uids);
"""


def upgrade() -> None:
    """Create both tables."""
    for statement in (_ENTRY, _STEP):
        op.execute(statement)
