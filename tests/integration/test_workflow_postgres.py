"""The PostgreSQL stores keep the workflow's contract."""

from collections.abc import Iterator

import pytest

from services.archive.adapters.postgres_commitments import PostgresCommitments
from services.archive.adapters.postgres_connections import PostgresConnections
from services.archive.adapters.postgres_steps import PostgresSteps
from services.archive.adapters.postgres_worklist import PostgresWorklist
from services.archive.errors import IndexUnavailable
from services.archive.migrate import migrate
from services.archive.workflow.ports import Workflow
from services.archive.workflow.worklist import WorklistQuery
from tests.integration.postgres import database, postgres
from tests.services.archive.workflow.contract_workflow import WorkflowContract

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def stores(connections: PostgresConnections) -> Workflow:
    return Workflow(
        PostgresWorklist(connections), PostgresSteps(connections), PostgresCommitments(connections)
    )


class TestPostgresWorkflow(WorkflowContract):
    """`PostgresWorklist` and `PostgresSteps` under the contract."""

    @pytest.fixture
    def workflow(self, database: str) -> Iterator[Workflow]:
        migrate(database)
        # Of a server that was just started the first connection may take its time.
        connections = PostgresConnections(database, patience=30.0)
        yield stores(connections)
        connections.close()


def test_without_tables_yet_the_worklist_says_that_it_cannot_be_read(database: str) -> None:
    connections = PostgresConnections(database, patience=30.0)
    try:
        with pytest.raises(IndexUnavailable):
            list(stores(connections).worklist.find(WorklistQuery(None)))
    finally:
        connections.close()
