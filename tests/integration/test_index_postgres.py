"""The PostgreSQL index keeps the contract, survives its database and takes its migrations in turns."""

import unicodedata
from collections.abc import Iterator
from threading import Thread

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from psycopg import sql

from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.adapters.postgres_names import few_named, words_query
from services.archive.adapters.postgres_queries import compile_query
from services.archive.errors import IndexUnavailable
from services.archive.index.names import normalise, words_of
from services.archive.index.query import Level, Query, condition, key_named
from services.archive.migrate import migrate
from tests.integration.postgres import PostgresServer, database, postgres
from tests.services.archive.content import a_pack, a_study, an_instance, receipts_for
from tests.services.archive.contract_index import YANAN, IndexContract

__all__ = ["database", "postgres"]

pytestmark = pytest.mark.integration
TABLES = (
    "pack",
    "patient",
    "study",
    "series",
    "instance",
    "conflict",
    "receipt",
    "tombstone",
    "worklist_entry",
    "performed_step",
    "storage_commitment",
    "document_outbox",
)


@pytest.fixture(scope="module")
def migrated(postgres: PostgresServer) -> str:
    dsn = postgres.new_database()
    migrate(dsn)
    return dsn


@pytest.fixture
def index(migrated: str) -> Iterator[PostgresIndex]:
    with psycopg.connect(migrated) as connection:
        connection.execute(("TRUNCATE " + ", ".join(TABLES) + " CASCADE").encode())
    index = PostgresIndex(migrated)
    yield index
    index.close()


class TestPostgresIndex(IndexContract):
    """`PostgresIndex` under the contract."""


def test_every_table_names_institution_and_site(migrated: str) -> None:
    with psycopg.connect(migrated) as connection:
        rows = connection.execute(
            """SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'
            AND column_name IN ('institution', 'site') AND is_nullable = 'NO' GROUP BY 1 HAVING count(*) = 2"""
        ).fetchall()
    assert {row[0] for row in rows} == set(TABLES)


def test_migrations_started_at_once_take_turns(database: str) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(database)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_index_without_its_schema_is_unavailable_and_not_broken(database: str) -> None:
    index = PostgresIndex(database)
    with pytest.raises(IndexUnavailable):
        index.ping()
    migrate(database)
    index.ping()
    index.close()


def test_a_failed_commit_leaves_no_row(index: PostgresIndex) -> None:
    content = a_pack(an_instance("1.2.3.1.1"))
    twice = receipts_for(content)
    broken = [*twice, *(object(),)]
    with pytest.raises(AttributeError):
        index.commit(content, broken)  # type: ignore[arg-type]
    assert index.unknown_packs([content.pack.pack_id]) == {content.pack.pack_id}
    assert index.instances(YANAN, "1.2.3") == []


def test_a_tombstoned_instance_does_not_come_back(index: PostgresIndex, migrated: str) -> None:
    one = an_instance("1.2.3.1.1")
    with psycopg.connect(migrated) as connection:
        connection.execute(
            "INSERT INTO tombstone VALUES ('yanan', 'yanchang', %s, %s, '113001', 'dr', now())",
            (one.sop_instance_uid, one.digest),
        )
    assert index.commit(a_pack(one, an_instance("1.2.3.1.2")), []).tombstoned == 1
    assert [i.sop_instance_uid for i in index.instances(YANAN, "1.2.3")] == ["1.2.3.1.2"]


def test_one_patient_of_an_issuer_has_one_row(index: PostgresIndex, migrated: str) -> None:
    for number, issuer in enumerate(("HIS", "HIS", "LAB")):
        study = a_study(f"1.2.{number}", issuer=issuer)
        index.commit(a_pack(an_instance(f"1.2.{number}.1"), name=str(number), study=study), [])
    with psycopg.connect(migrated) as connection:
        rows = connection.execute(
            "SELECT p.issuer, count(s.id) FROM patient p JOIN study s ON s.patient = p.id GROUP BY 1"
        )
        assert dict(rows.fetchall()) == {"HIS": 2, "LAB": 1}


def test_a_prefix_of_a_name_is_looked_up_by_index(migrated: str) -> None:
    with psycopg.connect(migrated) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT id FROM study WHERE patient_name_ideographic LIKE '王%'"
        ).fetchall()
    assert any("study_name_ideographic" in row[0] for row in plan)


def kept(dsn: str) -> list[tuple[bool | None, int | None]]:
    """Of each series whether its blob is current, and the blob's length."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT built = version, length(content) FROM series_metadata ORDER BY series"
        ).fetchall()


def test_metadata_is_built_for_series_that_are_quiet_and_once(index: PostgresIndex, migrated: str) -> None:
    index.commit(a_pack(an_instance("1.2.3.1.1"), an_instance("1.2.3.2.1", series_uid="1.2.3.2")), [])
    assert index.series_without_metadata(3600, 10) == []
    due = index.series_without_metadata(0, 10)
    assert len(due) == 2
    assert [index.build_metadata(one) for one in due] == [True, True]
    assert index.series_without_metadata(0, 10) == []
    assert [current for current, _ in kept(migrated)] == [True, True]
    index.commit(a_pack(an_instance("1.2.3.1.2"), name="two"), [])
    assert len(index.series_without_metadata(0, 10)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE instance SET dicom_json = '{}' WHERE sop_instance_uid = '1.2.3.1.1'",
        "DELETE FROM instance WHERE sop_instance_uid = '1.2.3.1.1'",
    ],
)
def test_whoever_changes_an_instance_makes_the_blob_of_its_series_stale(
    index: PostgresIndex, migrated: str, change: str
) -> None:
    index.commit(a_pack(an_instance("1.2.3.1.1"), an_instance("1.2.3.1.2")), [])
    before = index.series_metadata(YANAN, "1.2.3", "1.2.3.1")
    with psycopg.connect(migrated) as connection:
        connection.execute(change.encode())
    after = index.series_metadata(YANAN, "1.2.3", "1.2.3.1")
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


def test_a_series_without_instances_has_no_metadata_and_goes_with_its_row(
    index: PostgresIndex, migrated: str
) -> None:
    index.commit(a_pack(an_instance("1.2.3.1.1")), [])
    with psycopg.connect(migrated) as connection:
        connection.execute("DELETE FROM instance")
    assert index.series_metadata(YANAN, "1.2.3", "1.2.3.1") is None
    with psycopg.connect(migrated) as connection:
        connection.execute("DELETE FROM series")
    assert kept(migrated) == []
    assert index.build_metadata(1) is False


@given(name=st.text(max_size=80))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_words_of_a_name_are_the_same_in_the_index_and_in_memory(migrated: str, name: str) -> None:
    form = normalise(name)
    with psycopg.connect(migrated) as connection:
        row = connection.execute(
            "SELECT tsvector_to_array(pacs_name_words(%s, '', '')), normalize(%s, NFD)", (form, form)
        ).fetchone()
    assert row is not None
    # Characters that one of the two Unicode tables does not know yet are no rule of ours.
    assume(row[1] == unicodedata.normalize("NFD", form))
    assert set(row[0]) == words_of(form)


def test_a_fuzzy_search_among_many_studies_is_answered_by_the_index(
    migrated: str, index: PostgresIndex
) -> None:
    rows = 100_000
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO study (institution, site, study_uid, patient_id, issuer, patient_name_alphabetic,
                patient_name_ideographic, patient_name_phonetic, birth_date, sex, study_date, study_time,
                accession_number, study_id, description, referring_alphabetic, referring_ideographic,
                referring_phonetic, attributes)
            SELECT 'yanan', 'centre', '1.2.' || n, 'P' || n, '', 'wang^person' || n, '', '', '', '',
                to_char(date '2000-01-01' + (n %% 9000), 'YYYYMMDD'), '', 'A' || n, '', '', 'li^na', '', '', '{}'
            FROM generate_series(1, %s) AS n""",
            (rows,),
        )
        connection.execute("ANALYZE study")
        key = key_named("PatientName")
        assert key is not None
        for asked, used in (("person77777", True), ("wang person7777", True), ("wang", False)):
            query = Query(Level.STUDY, None, tuple(filter(None, [condition(key, asked, fuzzy=True)])))
            with connection.cursor() as cursor:
                statement, parameters = compile_query(query, None, few_named(cursor, query))
            plan = str(connection.execute(sql.SQL("EXPLAIN ") + statement, parameters).fetchall())
            # A word that nearly everybody has is no help: the newest studies are looked through instead.
            assert ("study_pkey" in plan) == used, plan
            assert "Seq Scan on study" not in plan
            assert "study_patient_name_words" not in plan
            assert len(index.find(query)) == {"person77777": 1, "wang person7777": 11, "wang": 100}[asked]
        probe = "EXPLAIN SELECT id FROM study WHERE patient_name_words @@ %s::tsquery LIMIT 1001"
        plan = str(connection.execute(probe, (words_query(("person7777",)),)).fetchall())
        assert "study_patient_name_words" in plan
