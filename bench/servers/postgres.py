"""A real PostgreSQL: Debian's server, one data directory, a socket of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from bench.errors import ServerError
from bench.processes import Program

OWNER = "postgres"


def binaries() -> Path:
    """The newest installed server's programs. Raises ServerError where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise ServerError(
            "there is no PostgreSQL", "/usr/lib/postgresql is empty", "apt-get install postgresql"
        )
    return found[-1]


class PostgresServer:
    """One server process; it listens on a Unix socket only, so that no port can be taken.

    `durable`: a commit is on the disk when it returns, as in production. A test that does not cut the
    power has no use for that.
    """

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory = directory
        self._durable = durable
        self._data = directory / "data"
        self._programs = binaries()
        self._server: Program | None = None

    def initialise(self) -> None:
        """Make the data directory."""
        owner = OWNER if os.geteuid() == 0 else None
        if owner is not None:
            shutil.chown(self.directory, owner, owner)
        command = [
            str(self._programs / "initdb"), "-D", str(self._data), "-U", OWNER, "--auth=trust", "--no-sync",
            "-E", "UTF8", "--locale=C",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.directory, timeout=120, check=False,
            user=owner, group=owner, extra_groups=None if owner is None else [],
        )  # fmt: skip
        if done.returncode:
            raise ServerError("initdb failed", done.stderr[-500:], f"Look at {self.directory}.")

    def start(self) -> None:
        """Return when it takes connections."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.directory)}
        if not self._durable:
            settings["fsync"] = "off"
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._server = Program(
            [str(self._programs / "postgres"), "-D", str(self._data), *options],
            self.directory.parent / f"{self.directory.name}.log",
            directory=self.directory,
            user=OWNER,
            end_with=signal.SIGQUIT,  # at once: what was committed is replayed at the next start
        )
        self._server.wait_until(self._answers, "take connections")

    @property
    def pid(self) -> int:
        if self._server is None:
            raise ServerError("PostgreSQL is not running", "it was not started", "Start it first.")
        return self._server.pid

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def version(self) -> str:
        """As the server says it."""
        with psycopg.connect(self.dsn()) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else "unknown"

    def dsn(self, database: str = OWNER) -> str:
        return f"host={self.directory} user={OWNER} dbname={database}"

    def uri(self, database: str) -> str:
        """The same as `dsn`, for who takes nothing but a URI."""
        return f"postgresql://{OWNER}@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """The DSN of an empty database."""
        name = f"pacs_{uuid4().hex}"
        self.create(name)
        return self.dsn(name)

    def create(self, name: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def database_server() -> Iterator[PostgresServer]:
    """A running server of its own."""
    with tempfile.TemporaryDirectory(prefix="pacs-postgres-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)
        home = Path(directory) / "postgres"
        home.mkdir()
        server = PostgresServer(home)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
