"""The index: packs, patients, studies, series, instances, conflicts, receipts, tombstones, outbox.

Every row names its institution and site (docs/contracts.md, section 11). Matching columns are
bounded text (`services.archive.index.names.key_text`); what a client reads is ready DICOM JSON.
"""

from alembic import op

revision = "0001"
down_revision = None

_PACK = """
CREATE TABLE pack (
    pack_id      text PRIMARY KEY CHECK (pack_id ~ '^[0-9a-f]{64}$'),
    region       text NOT NULL,
    institution  text NOT NULL,
    site         text NOT NULL,
    study_uid    text NOT NULL,
    object_key   text NOT NULL UNIQUE,
    length       bigint NOT NULL CHECK (length > 0),
    instances    integer NOT NULL,
    key_id       text,
    sealed_at    timestamptz NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pack_study ON pack (institution, study_uid);
"""

# A patient per institution and issuer; whether two are one person is decided elsewhere (PIR, MPI).
_PATIENT = """
CREATE TABLE patient (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    institution text NOT NULL,
    site        text NOT NULL,
    issuer      text NOT NULL,
    patient_id  text NOT NULL CHECK (patient_id <> ''),
    UNIQUE (institution, issuer, patient_id)
);
"""

# A study without a patient id has no patient row: all of them would be one person.
_STUDY = """
CREATE TABLE study (
    id                       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    institution              text NOT NULL,
    site                     text NOT NULL,
    patient                  bigint REFERENCES patient,
    study_uid                text NOT NULL,
    patient_id               text NOT NULL,
    issuer                   text NOT NULL,
    patient_name_alphabetic  text NOT NULL,
    patient_name_ideographic text NOT NULL,
    patient_name_phonetic    text NOT NULL,
    birth_date               text NOT NULL,
    sex                      text NOT NULL,
    study_date               text NOT NULL,
    study_time               text NOT NULL,
    accession_number         text NOT NULL,
    study_id                 text NOT NULL,
    description              text NOT NULL,
    referring_alphabetic     text NOT NULL,
    referring_ideographic    text NOT NULL,
    referring_phonetic       text NOT NULL,
    attributes               bytea NOT NULL,
    created_at               timestamptz NOT NULL DEFAULT now(),
    UNIQUE (study_uid, institution)
);
CREATE INDEX study_newest ON study (study_date DESC, study_uid, institution);
CREATE INDEX study_of_patient ON study (patient);
CREATE INDEX study_patient_id ON study (patient_id text_pattern_ops);
CREATE INDEX study_accession ON study (accession_number text_pattern_ops);
CREATE INDEX study_name_alphabetic ON study (patient_name_alphabetic text_pattern_ops);
CREATE INDEX study_name_ideographic ON study (patient_name_ideographic text_pattern_ops);
CREATE INDEX study_name_phonetic ON study (patient_name_phonetic text_pattern_ops);
"""

_SERIES = """
CREATE TABLE series (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study                bigint NOT NULL REFERENCES study,
    institution          text NOT NULL,
    site                 text NOT NULL,
    series_uid           text NOT NULL,
    modality             text NOT NULL,
    number               bigint,
    description          text NOT NULL,
    performed_date       text NOT NULL,
    performed_time       text NOT NULL,
    requested_procedures text[] NOT NULL,
    scheduled_steps      text[] NOT NULL,
    attributes           bytea NOT NULL,
    instances            integer NOT NULL DEFAULT 0,
    UNIQUE (study, series_uid)
);
CREATE INDEX series_uid ON series (series_uid);
"""

# `dicom_json` is compressed by PostgreSQL (TOAST) when it exceeds 2 kB.
_LOCATION = """
    institution      text NOT NULL,
    site             text NOT NULL,
    sop_instance_uid text NOT NULL,
    sop_class_uid    text NOT NULL,
    study            bigint NOT NULL REFERENCES study,
    number           bigint,
    pack_id          text NOT NULL REFERENCES pack,
    transfer_syntax  text NOT NULL,
    "offset"         bigint NOT NULL,
    length           bigint NOT NULL,
    data_offset      bigint NOT NULL,
    pixel_offset     bigint NOT NULL,
    pixel_length     bigint NOT NULL,
    frames           bigint[] NOT NULL,
    digest           text NOT NULL,
    pixel_digest     text NOT NULL,
    key_id           text,
    received_at      timestamptz NOT NULL,
    calling_ae       text NOT NULL,
    called_ae        text NOT NULL,
    dicom_json       bytea NOT NULL
"""

_INSTANCE = f"""
CREATE TABLE instance (
{_LOCATION},
    series bigint NOT NULL REFERENCES series,
    PRIMARY KEY (sop_instance_uid, institution)
);
CREATE INDEX instance_of_series ON instance (series, number, sop_instance_uid);
CREATE INDEX instance_of_pack ON instance (pack_id);
"""

_CONFLICT = f"""
CREATE TABLE conflict (
{_LOCATION},
    series_uid   text NOT NULL,
    first_digest text NOT NULL,
    found_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sop_instance_uid, institution, digest)
);
CREATE INDEX conflict_of_study ON conflict (study);
"""

_RECEIPT = """
CREATE TABLE receipt (
    pack_id          text NOT NULL REFERENCES pack,
    position         integer NOT NULL,
    institution      text NOT NULL,
    site             text NOT NULL,
    sop_instance_uid text NOT NULL,
    digest           text NOT NULL,
    epoch            bigint NOT NULL,
    key_id           text NOT NULL,
    committed_at     timestamptz NOT NULL,
    jws              text NOT NULL,
    PRIMARY KEY (pack_id, epoch, position)
);
CREATE INDEX receipt_of_instance ON receipt (institution, sop_instance_uid);
"""

_TOMBSTONE = """
CREATE TABLE tombstone (
    institution      text NOT NULL,
    site             text NOT NULL,
    sop_instance_uid text NOT NULL,
    digest           text NOT NULL,
    reason           text NOT NULL,
    deleted_by       text NOT NULL,
    deleted_at       timestamptz NOT NULL,
    PRIMARY KEY (institution, sop_instance_uid, digest)
);
"""

_OUTBOX = """
CREATE TABLE document_outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    institution text NOT NULL,
    site        text NOT NULL,
    kind        text NOT NULL,
    document_id text NOT NULL,
    version     integer NOT NULL,
    document    jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    sent_at     timestamptz,
    UNIQUE (kind, document_id, version)
);
CREATE INDEX document_outbox_waiting ON document_outbox (id) WHERE sent_at IS NULL;
"""


def upgrade() -> None:
    """Create every table."""
    for statement in (_PACK, _PATIENT, _STUDY, _SERIES, _INSTANCE, _CONFLICT, _RECEIPT, _TOMBSTONE, _OUTBOX):
        op.execute(statement)
