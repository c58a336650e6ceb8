"""The index's schema, one alembic revision a change; `services.archive.migrate` applies them."""
