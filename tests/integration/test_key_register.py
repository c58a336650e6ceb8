"""Wrapped keys in PostgreSQL: kept once, given back whole, and away while the database is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.archive.adapters.postgres_keys import PostgresKeyRegister
from services.archive.errors import IndexUnavailable
from services.archive.migrate import migrate
from tests.integration.postgres import PostgresServer, database, postgres
from tests.services.archive.encryption.keys import Region, TurnedClock, write_wrapping_keys
from tests.services.archive.s3_double import S3Double

__all__ = ["database", "postgres"]

pytestmark = pytest.mark.integration


@pytest.fixture
def region(postgres: PostgresServer, tmp_path: Path) -> Region:
    dsn = postgres.new_database()
    migrate(dsn)
    write_wrapping_keys(tmp_path / "keys.json")
    return Region(S3Double(), tmp_path / "keys.json", TurnedClock(), PostgresKeyRegister(dsn))


def test_what_the_bucket_lost_comes_back_from_the_database(region: Region) -> None:
    made = region.ring.for_writing("yanan")
    region.client.objects.clear()
    region.ring.reconcile()
    assert Region(region.client, region.wrapping_keys, region.clock).ring.for_writing("yanan") == made


def test_the_same_key_twice_is_one_and_a_removed_one_is_gone(region: Region) -> None:
    region.ring.for_writing("yanan")
    assert region.register is not None
    (kept,) = region.register.all()
    region.register.save(kept)
    assert region.register.all() == [kept]
    region.register.remove(kept)
    region.register.remove(kept)
    assert region.register.all() == []


def test_a_database_that_is_away_stops_no_new_key(region: Region) -> None:
    away = PostgresKeyRegister("postgresql://127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(IndexUnavailable):
        away.all()
    other = Region(region.client, region.wrapping_keys, region.clock, away)
    assert other.ring.for_writing("yanan").institution == "yanan"


def test_a_database_without_the_table_counts_as_away(postgres: PostgresServer) -> None:
    with pytest.raises(IndexUnavailable):
        PostgresKeyRegister(postgres.new_database()).all()
