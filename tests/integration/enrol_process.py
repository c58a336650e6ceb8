"""The enrol command as a process whose names of the region all lead to this machine."""

import sys

import pytest

from services.edge.enrol import main
from tests.integration.region_door import resolve_locally

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        sys.exit(main())
