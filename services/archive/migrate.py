"""Bring the index's schema to this program's revision: at start, once, whichever process comes first."""

import logging
import threading
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import DBAPIError

from services.archive.errors import IndexUnavailable

# Any number that nothing else uses; pg_advisory_lock takes 64 bits.
LOCK = 0x7061_6373_0001
HEAD = "head"
_log = logging.getLogger(__name__)


def migrate(dsn: str, revision: str = HEAD) -> None:
    """Apply what is missing up to `revision`, holding an advisory lock so that replicas take turns.

    Raises `IndexUnavailable` when PostgreSQL does not answer; another SQLAlchemy error when a
    revision itself fails, in which case its transaction was rolled back.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn, connect_timeout=3),
        poolclass=pool.NullPool,
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
            connection.commit()
            try:
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                connection.commit()
            finally:
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LOCK})")
                connection.commit()
    except (psycopg.OperationalError, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not isinstance(error.orig, psycopg.OperationalError):
            raise
        raise IndexUnavailable(
            "The index database does not answer; its schema was not checked.",
            action="Start PostgreSQL, or correct PACS_DATABASE_URL_FILE; then run it again.",
        ) from error
    _log.info("index schema is current", extra={"revision": revision})


def migrate_patiently(dsn: str, stop: threading.Event, pause: float = 2.0) -> bool:
    """`migrate`, again and again while PostgreSQL is away; False when `stop` was set before it was done."""
    while not stop.is_set():
        try:
            migrate(dsn)
        except IndexUnavailable:
            _log.warning("index database is away; the schema is checked again soon", extra={"seconds": pause})
            stop.wait(pause)
        else:
            return True
    return False
