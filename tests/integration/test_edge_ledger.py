"""The ledger in a real PostgreSQL keeps its contract and says so when it is away."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from services.edge.adapters.postgres_ledger import PostgresLedger
from services.edge.ports import LedgerDown
from tests.integration.postgres import database, postgres
from tests.services.edge.ledger.contract_ledger import LedgerContract

__all__ = ["database", "postgres"]

pytestmark = pytest.mark.integration


@pytest.fixture
def ledger(database: str) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(database)
    yield ledger
    ledger.close()


class TestPostgresLedger(LedgerContract):
    """`PostgresLedger` under the contract."""


def test_two_edges_that_start_together_migrate_in_turns(database: str) -> None:
    errors: list[Exception] = []

    def ask() -> None:
        ledger = PostgresLedger(database)
        try:
            ledger.known()
        except LedgerDown as error:
            errors.append(error)
        finally:
            ledger.close()

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_a_database_that_is_away_is_ledger_down_without_the_url() -> None:
    ledger = PostgresLedger("host=/nowhere user=nobody password=hidden dbname=none")
    with pytest.raises(LedgerDown) as error:
        ledger.known()
    assert "hidden" not in str(error.value)
