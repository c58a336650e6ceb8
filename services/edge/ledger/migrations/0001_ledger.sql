CREATE TABLE edge.pack (
    pack_id      text PRIMARY KEY,
    institution  text NOT NULL,
    site         text NOT NULL,
    study_uid    text NOT NULL,
    sealed_at    timestamptz NOT NULL,
    forwarded_at timestamptz,
    committed_at timestamptz,
    epoch        integer
);
CREATE INDEX pack_study ON edge.pack (study_uid);
CREATE INDEX pack_open ON edge.pack (sealed_at) WHERE committed_at IS NULL;

-- One row for each instance of each pack: received -> stored -> forwarded -> committed.
CREATE TABLE edge.instance (
    institution      text NOT NULL,
    sop_instance_uid text NOT NULL,
    digest           text NOT NULL,
    pack_id          text NOT NULL REFERENCES edge.pack ON DELETE CASCADE,
    received_at      timestamptz NOT NULL,
    stored_at        timestamptz NOT NULL,
    forwarded_at     timestamptz,
    committed_at     timestamptz,
    PRIMARY KEY (institution, sop_instance_uid, digest, pack_id)
);
CREATE INDEX instance_pack ON edge.instance (pack_id);
