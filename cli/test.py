"""`./pacs test`: linters, types and tests; pytest runs last and its closing line is the last line printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli import console
from cli.errors import StepError
from cli.exit_codes import ExitCode
from cli.up import prepare
from toolchain import debian
from toolchain.paths import REPOSITORY, cache_directory
from toolchain.progress import Progress

All = Annotated[
    bool,
    typer.Option(
        "--all", help="Also integration (real Ceph and PostgreSQL processes) and the running region."
    ),
]

Scale = Annotated[
    int, typer.Option("--scale", min=1, help="How many times longer the fault tests go on (PACS_SCALE).")
]

EVERYTHING = "PACS_TEST_EVERYTHING"
"""Set for the tests by --all, which installs all that any of them asks for: then nothing may be missing."""

_SHOWN_LINES = 40
_BIN = Path(sys.executable).parent
_SOURCES = ("cli", "infra", "services", "toolchain", "load_tests", "bench", "dashboards", "tests")


@dataclass(frozen=True)
class Step:
    """A check that comes before the tests: its name and its command, run in the repository."""

    name: str
    command: Sequence[str]


def test(everything: All = False, scale: Scale = 1) -> None:
    """Run ruff, mypy, promtool, ansible-lint and the tests. Without --all: no cluster, minutes."""
    with console.progress() as progress:
        debian.install(debian.listed("test"), progress)
        if everything:
            _prepare_all(progress)
        failed = [step.name for step in steps() if not _passes(step, progress)]
    # The closing line of the test runner must be the last thing that is printed.
    status = subprocess.run(
        pytest(everything=everything, failed=failed),
        cwd=REPOSITORY,
        env=os.environ
        | ({"PACS_SCALE": str(scale)} if scale > 1 else {})
        | ({EVERYTHING: "1"} if everything else {}),
        check=False,
    ).returncode
    if status != 0 or failed:
        raise typer.Exit(ExitCode.DIFFERENCE)


def _prepare_all(progress: Progress) -> None:
    """All that integration and the region need, so that no test is skipped for a program that comes later."""
    from infra.config.region import load_region  # noqa: PLC0415  the default tests need none of it

    debian.install(debian.listed("integration"), progress)
    prepare(load_region("local"), progress, also=("distribution",))


def alert_rules(repository: Path = REPOSITORY) -> list[str]:
    """The generated rule files of centre and branch. Raises StepError where there are none to check."""
    rules = sorted(str(path) for path in repository.glob("dashboards/out/rules/*/*.yaml"))
    if not rules:
        raise StepError(
            "there are no alert rules to check",
            f"{repository / 'dashboards/out/rules'} has none",
            "Write them with python -m dashboards.build.",
        )
    return rules


def steps() -> list[Step]:
    """What is checked before the tests."""
    sources = [name for name in _SOURCES if (REPOSITORY / name).is_dir()]
    found = [
        Step("ruff", [str(_BIN / "ruff"), "check", "--quiet", *sources]),
        Step("ruff format", [str(_BIN / "ruff"), "format", "--check", "--quiet", *sources]),
        Step("mypy", [str(_BIN / "mypy"), "--cache-dir", str(cache_directory() / "mypy")]),
    ]
    found.append(Step("promtool", ["promtool", "check", "rules", *alert_rules()]))
    playbooks = [name for name in ("roles", "playbooks") if (REPOSITORY / name).is_dir()]
    if playbooks:
        lint = [
            str(_BIN / "ansible-lint"),
            "--offline",
            "--nocolor",
            "-q",
            "--profile",
            "production",
            *playbooks,
        ]
        found.append(Step("ansible-lint", lint))
    return found


def pytest(*, everything: bool, failed: Sequence[str]) -> list[str]:
    """The test runner's command line; `failed` checks are told in its header, above its closing line."""
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache_directory() / 'pytest'}"]
    # With real processes a worker takes whole files; the region is as one file, beside the last (tests/conftest.py).
    with_processes = ["-m", "", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    command += with_processes if everything else ["-n", "2", "--dist", "worksteal"]
    if failed:
        console.err.print(f"[red]failed before the tests:[/red] {', '.join(failed)}")
    return command


def _passes(step: Step, progress: Progress) -> bool:
    progress.update(step.name, "checking")
    environment = os.environ | {"ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles")}
    if shutil.which(step.command[0]) is None:
        return _fail(step, progress, f"{step.command[0]} is not on this machine")
    answer = subprocess.run(
        step.command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if answer.returncode == 0:
        progress.done(step.name, "passed")
        return True
    _fail(step, progress, f"exit {answer.returncode}")
    lines = (answer.stdout + answer.stderr).splitlines()
    console.log.error("%s", "\n".join(lines))
    if len(lines) > _SHOWN_LINES:
        lines = [f"({len(lines) - _SHOWN_LINES} lines before this are in the log)", *lines[-_SHOWN_LINES:]]
    console.err.print("\n".join(lines), markup=False, soft_wrap=True)
    return False


def _fail(step: Step, progress: Progress, reason: str) -> bool:
    if isinstance(progress, console.Lines):
        progress.failed(step.name, reason)
    return False
