"""A real PostgreSQL for integration tests: Debian's server, one data directory, a socket of its own."""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

OWNER = "postgres"


def binaries() -> Path:
    """The newest installed server's programs; the test is skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        pytest.skip("needs Debian's postgresql package: apt-get install postgresql")
    return found[-1]


class PostgresServer:
    """One server process; it listens on a Unix socket only, so that no port can be taken."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._data = directory / "data"
        self._programs = binaries()

    def initialise(self) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(OWNER)
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb",
            "-D",
            str(self._data),
            "-U",
            OWNER,
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        )

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory} -c fsync=off"
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "30", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def dsn(self, database: str = OWNER) -> str:
        return f"host={self.directory} user={OWNER} dbname={database}"

    def new_database(self) -> str:
        """The DSN of an empty database."""
        name = f"pacs_{uuid4().hex}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.dsn(name)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", OWNER, "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.directory, timeout=60)


@contextmanager
def database_server() -> Iterator[PostgresServer]:
    """A running server of its own."""
    with tempfile.TemporaryDirectory(prefix="pacs-postgres-", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory))
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server for the whole session."""
    with database_server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The DSN of a database of this test alone, without any table."""
    return postgres.new_database()
