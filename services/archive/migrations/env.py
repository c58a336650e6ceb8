"""Alembic's entry: runs on the connection that `services.archive.migrate` holds its lock on."""

from alembic import context
from sqlalchemy import Connection


def run() -> None:
    """Apply the revisions in one transaction."""
    connection = context.config.attributes.get("connection")
    if not isinstance(connection, Connection):
        raise TypeError("run migrations by `python -m services.archive migrate`: it takes the lock they need")
    context.configure(connection=connection, target_metadata=None, version_table="archive_version")
    with context.begin_transaction():
        context.run_migrations()


run()
