"""The Pulumi stack of a region: state in the stack's own directory, the program run in this process.

Nothing of the user's own Pulumi is touched: home, backend and passphrase lie in the state directory.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import MachineError
from infra.pki.private_files import write_private
from toolchain.paths import state_directory

if TYPE_CHECKING:
    from pulumi.automation import Stack

    from infra.config.region import RegionConfig
    from toolchain.install import Toolset

PROJECT = "regional-pacs"
"""The name in Pulumi.yaml; a test compares them."""
MARKER = "stack.json"
"""Says that a directory is a stack's state: `down` removes no other."""
RUN = "PACS_RUN"
"""In the environment of everything that a ./pacs starts: its process id."""


@dataclass(frozen=True)
class Layout:
    """The directories and files of one stack on this machine (contracts section 14)."""

    stack: str

    @property
    def state(self) -> Path:
        return state_directory(self.stack)

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def backend(self) -> Path:
        return self.state / "pulumi"

    @property
    def passphrase(self) -> Path:
        """Encrypts Pulumi's secrets and the region's keys; `infra.credentials` reads the same file."""
        return self.secrets / "passphrase"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def scratch(self) -> Path:
        """Temporary files of Pulumi and its providers, kubeconfigs among them: they end with the run."""
        return self.state / "tmp"

    @property
    def runs(self) -> Path:
        """Files of plays while they run (`infra.providers.play_run`)."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def hosts(self) -> Path:
        return self.state / "hosts"

    @property
    def locks(self) -> Path:
        """Where Pulumi's file backend keeps the locks of this stack."""
        return self.backend / ".pulumi" / "locks" / "organization" / PROJECT / self.stack

    def is_ours(self) -> bool:
        """Whether the state directory is one that `up` made for this stack."""
        try:
            document = json.loads((self.state / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(document, dict) and document.get("stack") == self.stack

    def make(self) -> None:
        """Make the directories and the passphrase. Raises MachineError for a directory that is not ours."""
        foreign = self.state.is_dir() and not self.is_ours()
        if foreign and any(entry.name not in {"logs", "secrets", "hosts"} for entry in self.state.iterdir()):
            raise MachineError(
                f"{self.state} is not a stack's state directory",
                f"it has files, but no {MARKER} of the stack {self.stack}",
                "Move it away, or set PACS_STATE_DIR to another place.",
            )
        for directory in (self.state, self.backend, self.backend / "work", self.backend / "home", self.logs):
            directory.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(exist_ok=True)
        self.secrets.chmod(0o700)
        self.backend.chmod(0o700)
        (self.state / MARKER).write_text(json.dumps({"stack": self.stack}) + "\n", encoding="utf-8")
        if not self.passphrase.exists():
            write_private(self.passphrase, secrets.token_urlsafe(32).encode() + b"\n")


def environment(layout: Layout, tools: Toolset) -> dict[str, str]:
    """What pulumi and everything below it need to know; also what `./pacs env` prints."""
    return {
        "PATH": tools.search_path(),
        "PULUMI_HOME": str(layout.backend / "home"),
        "PULUMI_BACKEND_URL": f"file://{layout.backend}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(layout.passphrase),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "KUBECONFIG": str(layout.kubeconfig),
    }


@dataclass
class Program:
    """The program as Pulumi runs it; keeps its error, which Pulumi would turn into text."""

    function: Callable[[], None]
    error: Exception | None = None

    def __call__(self) -> None:
        try:
            self.function()
        except Exception as error:
            self.error = error
            raise


def region_program() -> Program:
    """What plain `pulumi up` runs too."""
    from infra.program import program  # noqa: PLC0415  imports every component

    return Program(program)


def select(layout: Layout, region: RegionConfig, tools: Toolset, program: Program) -> Stack:
    """The stack, made if it is new, with the region as its one configuration object."""
    settings = environment(layout, tools)
    # Before the import: the Automation API asks `pulumi` on PATH for its version. RUN tells the next
    # run which processes are of this one.
    os.environ.update(settings | {RUN: str(os.getpid()), "TMPDIR": str(layout.scratch)})
    from pulumi import automation  # noqa: PLC0415

    stack = automation.create_or_select_stack(
        stack_name=layout.stack,
        project_name=PROJECT,
        program=program,
        opts=automation.LocalWorkspaceOptions(
            work_dir=str(layout.backend / "work"),
            env_vars=settings,
            secrets_provider="passphrase",
            project_settings=automation.ProjectSettings(
                name=PROJECT, runtime="python", backend=automation.ProjectBackend(f"file://{layout.backend}")
            ),
        ),
    )
    wanted = {"pacs:region": json.dumps(region.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)}
    _configure(stack, wanted)
    return stack


def _configure(stack: Stack, wanted: Mapping[str, str]) -> None:
    """Set what differs and remove what is not wanted: the stack file is the one truth."""
    from pulumi.automation import ConfigValue  # noqa: PLC0415

    have = stack.get_all_config()
    for key, value in wanted.items():
        if key not in have or have[key].value != value:
            stack.set_config(key, ConfigValue(value))
    extra = [key for key in have if key not in wanted]
    if extra:
        stack.remove_all_config(extra)
