"""Tombstones on real PostgreSQL: the contract, writers that meet, and what an earlier release left."""

from collections.abc import Iterator
from threading import Thread

import psycopg
import pytest

from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.migrate import migrate
from services.archive.tombstones.document import Target
from tests.integration.postgres import PostgresServer, postgres
from tests.services.archive.content import a_pack
from tests.services.archive.tombstones.contract_tombstones import (
    TombstoneContract,
    a_tombstone,
    slice_of,
    uids,
)

__all__ = ["postgres"]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def migrated(postgres: PostgresServer) -> str:
    dsn = postgres.new_database()
    migrate(dsn)
    return dsn


@pytest.fixture
def index(migrated: str) -> Iterator[PostgresIndex]:
    with psycopg.connect(migrated) as connection:
        connection.execute("TRUNCATE pack, patient, study, tombstone CASCADE")
    index = PostgresIndex(migrated)
    yield index
    index.close()


class TestPostgresTombstones(TombstoneContract):
    """`PostgresIndex` under the contract."""


def test_a_tombstone_and_packs_that_come_at_once_leave_nothing_visible(index: PostgresIndex) -> None:
    failures: list[BaseException] = []

    def commit(number: int) -> None:
        try:
            index.commit(a_pack(slice_of(f"1.{number}"), name=str(number)), [])
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=commit, args=(number,)) for number in range(1, 13)]
    for thread in threads[:6]:
        thread.start()
    index.bury(a_tombstone(Target("1.2.3")))
    for thread in threads[6:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert uids(index) == []


def test_the_patient_of_what_is_left_is_the_studys(index: PostgresIndex, migrated: str) -> None:
    index.commit(a_pack(slice_of("1.1", patient="WRONG"), slice_of("1.2", patient="P7")), [])
    index.bury(a_tombstone(Target("1.2.3", "", "1.1")))
    with psycopg.connect(migrated) as connection:
        rows = connection.execute(
            "SELECT s.patient_id, p.patient_id FROM study s JOIN patient p ON p.id = s.patient"
        ).fetchall()
    assert rows == [("P7", "P7")]
