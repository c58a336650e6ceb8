"""Where a stack's state lies, and that secrets are nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.engine.workspace import PROJECT, Layout, Program, environment
from toolchain.install import Toolset
from toolchain.paths import REPOSITORY


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    made = Layout("local")
    made.make()
    return made


def test_the_project_is_the_one_that_plain_pulumi_sees() -> None:
    project = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert project["name"] == PROJECT


def test_the_passphrase_is_made_once_and_is_the_owners_alone(layout: Layout) -> None:
    first = layout.passphrase.read_bytes()
    layout.make()
    assert layout.passphrase.read_bytes() == first
    assert len(first.strip()) >= 32
    assert layout.passphrase.stat().st_mode & 0o777 == 0o600
    assert layout.secrets.stat().st_mode & 0o777 == 0o700
    assert layout.backend.stat().st_mode & 0o777 == 0o700


def test_no_secret_is_in_the_environment(layout: Layout, tmp_path: Path) -> None:
    settings = environment(layout, Toolset({"pulumi": tmp_path / "pulumi"}))
    passphrase = layout.passphrase.read_text(encoding="utf-8").strip()
    assert not [name for name, value in settings.items() if passphrase in value]


def test_the_programs_own_error_is_kept() -> None:
    def fail() -> None:
        raise LookupError("no such disk")

    program = Program(fail)
    with pytest.raises(LookupError):
        program()
    assert isinstance(program.error, LookupError)
