"""The words of names as an index of its own, for fuzzy matching (PS3.4 C.2.2.2.1): `services.archive.index.names`.

Generated columns: whoever writes or corrects a name need not know of them, and rows of before are filled here.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

_FUNCTION = """
CREATE FUNCTION pacs_name_words(alphabetic text, ideographic text, phonetic text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    WITH bare AS (
        SELECT normalize(regexp_replace(normalize(name, NFD), '[\\u0300-\\u036F]', '', 'g'), NFC) AS name
        FROM unnest(ARRAY[alphabetic, ideographic, phonetic]) AS name
    ), parts AS (
        SELECT regexp_split_to_array(
            replace(replace(translate(name, 'øłđı', 'oldi'), 'æ', 'ae'), 'œ', 'oe'),
            '[ ^=,.''_·・\\u2019-]+'
        ) AS words FROM bare
    )
    SELECT array_to_tsvector(ARRAY(
        SELECT DISTINCT left(word, 64) COLLATE "C" FROM (
            SELECT unnest(words) AS word FROM parts UNION ALL SELECT array_to_string(words, '') FROM parts
        ) AS every WHERE word <> ''
    ))
$$
"""
# Enough detail of the statistics that a rare word is looked up and a common one is not.
_COLUMNS = """
ALTER TABLE study
    ADD COLUMN patient_name_words tsvector
        GENERATED ALWAYS AS (pacs_name_words(patient_name_alphabetic, patient_name_ideographic, patient_name_phonetic)) STORED,
    ADD COLUMN referring_words tsvector
        GENERATED ALWAYS AS (pacs_name_words(referring_alphabetic, referring_ideographic, referring_phonetic)) STORED,
    ALTER COLUMN patient_name_words SET STATISTICS 1000,
    ALTER COLUMN referring_words SET STATISTICS 1000
"""
# Without a list of pending entries, which every search would read through.
_INDEXES = (
    "CREATE INDEX study_patient_name_words ON study USING gin (patient_name_words) WITH (fastupdate = off)",
    "CREATE INDEX study_referring_words ON study USING gin (referring_words) WITH (fastupdate = off)",
)


def upgrade() -> None:
    """Add function, columns and indexes."""
    for statement in (_FUNCTION, _COLUMNS, *_INDEXES):
        op.execute(statement)
