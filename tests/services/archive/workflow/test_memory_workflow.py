"""The memory stores keep the workflow's contract."""

import pytest

from services.archive.adapters.memory_workflow import memory_workflow
from services.archive.workflow.ports import Workflow
from tests.services.archive.workflow.contract_workflow import WorkflowContract


class TestMemoryWorkflow(WorkflowContract):
    """`memory_workflow` under the contract."""

    @pytest.fixture
    def workflow(self) -> Workflow:
        return memory_workflow()
