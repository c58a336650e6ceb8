"""A real PostgreSQL for integration tests; the test is skipped where Debian's server is not installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import ServerError
from bench.servers import postgres as server_of
from bench.servers.postgres import PostgresServer, database_server


def binaries() -> Path:
    """The newest installed server's programs; the test is skipped where there is none."""
    try:
        return server_of.binaries()
    except ServerError as error:
        pytest.skip(f"needs Debian's postgresql package: {error.action}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server for the whole session."""
    binaries()
    with database_server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The DSN of a database of this test alone, without any table."""
    return postgres.new_database()
