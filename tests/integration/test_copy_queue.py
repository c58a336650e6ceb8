"""What waits for the second copy, in PostgreSQL: committed packs, oldest first, one process at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.archive.adapters.postgres_copies import PostgresCopyQueue
from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.errors import IndexUnavailable
from services.archive.migrate import migrate
from tests.integration.postgres import PostgresServer, database, postgres
from tests.services.archive.content import a_pack, an_instance
from tests.waiting import wait_for

__all__ = ["database", "postgres"]

pytestmark = pytest.mark.integration


@pytest.fixture
def dsn(postgres: PostgresServer) -> str:
    made = postgres.new_database()
    migrate(made)
    return made


@pytest.fixture
def packs(dsn: str) -> list[str]:
    """The ids of three committed packs, the first first."""
    index = PostgresIndex(dsn)
    contents = [a_pack(an_instance(f"1.{n}"), name=str(n)) for n in range(3)]
    for content in contents:
        index.commit(content, [])
    index.close()
    return [content.pack.pack_id for content in contents]


@pytest.fixture
def queue(dsn: str) -> Iterator[PostgresCopyQueue]:
    made = PostgresCopyQueue(dsn)
    yield made
    made.close()


def test_a_committed_pack_waits_until_it_is_copied_and_again_when_it_was_lost(
    queue: PostgresCopyQueue, packs: list[str]
) -> None:
    assert [one.pack_id for one in queue.due(10, None)] == packs
    assert queue.waiting().packs == 3
    assert queue.waiting().oldest == queue.due(1, None)[0].committed_at
    queue.done(packs[:2])
    assert [one.pack_id for one in queue.due(10, None)] == packs[2:]
    queue.done(packs)
    assert queue.waiting().packs == 0
    assert queue.waiting().oldest is None
    queue.again([packs[1]])
    assert [one.pack_id for one in queue.due(10, None)] == [packs[1]]


def test_pages_follow_one_another(queue: PostgresCopyQueue, packs: list[str]) -> None:
    (first,) = queue.due(1, None)
    (second,) = queue.due(1, first)
    assert [first.pack_id, second.pack_id] == packs[:2]
    assert [one.pack_id for one in queue.due(5, second)] == packs[2:]


def test_one_process_leads_until_it_ends(dsn: str, queue: PostgresCopyQueue) -> None:
    other = PostgresCopyQueue(dsn)
    assert queue.lead()
    assert queue.lead()
    assert not other.lead()
    queue.close()
    wait_for(other.lead, 30, "the lead of one whose connection ended")
    other.close()


def test_a_database_that_is_away_is_told_as_such() -> None:
    with pytest.raises(IndexUnavailable):
        PostgresCopyQueue("postgresql://127.0.0.1:1/none?connect_timeout=1").waiting()
