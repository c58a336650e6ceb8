"""A role's README tells what its argument_specs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from roles import readme


@pytest.mark.parametrize("role", readme.roles(), ids=lambda role: role.name)
def test_the_table_of_variables_is_current(role: Path) -> None:
    assert (role / "README.md").read_text(encoding="utf-8") == readme.written(role), (
        "run python -m roles.readme"
    )
