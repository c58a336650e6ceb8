"""Roles say what they take, and take what the program gives them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "tasks").is_dir())


def options(role: str) -> dict[str, Any]:
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_has_a_type_and_a_description(role: str) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role}_")
        assert option.get("type"), name
        assert option.get("description"), name


@pytest.mark.parametrize("role", NAMES)
def test_a_default_stands_in_defaults_and_only_for_what_is_not_required(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text()) or {}
    declared = options(role)
    assert set(defaults) <= set(declared)
    assert not {name for name in defaults if declared[name].get("required")}
    assert {name for name in declared if not declared[name].get("required")} <= set(defaults)
    for name, value in defaults.items():
        if "default" in declared[name]:
            assert declared[name]["default"] == value, name


@pytest.mark.parametrize("role", NAMES)
def test_the_table_of_contents_names_files_that_exist(role: str) -> None:
    tasks = yaml.safe_load((ROLES / role / "tasks/main.yml").read_text())
    for task in tasks:
        assert (ROLES / role / "tasks" / task["ansible.builtin.import_tasks"]).is_file()


@pytest.mark.parametrize("role", ["ceph_device", "edge_node"])
def test_a_role_takes_only_what_it_uses(role: str) -> None:
    folders = (ROLES / role / name for name in ("tasks", "templates", "vars", "handlers"))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    text = "\n".join(path.read_text() for path in files)
    assert [name for name in options(role) if not re.search(rf"\b{name}\b", text)] == []
