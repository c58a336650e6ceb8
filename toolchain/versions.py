"""versions.yaml as types: what each tool is, where its release lies, how it is built."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from toolchain.errors import VersionsError

TOOLCHAIN = Path(__file__).resolve().parent
# A change of the way tools are built or unpacked gets a new number, so that caches are filled anew.
RECIPE = 1

Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
InnerPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_{][^\s/]*(/[A-Za-z0-9_{][^\s/]*)*$")]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://\S+$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Release(_Entry):
    """A project's own release: URL templates, and what each binary is called inside the archive."""

    url: HttpsUrl
    checksums: HttpsUrl
    members: dict[FileName, InnerPath] = Field(default_factory=dict)


class Build(_Entry):
    """How a group is built from its Go modules; paths are inside the module's directory."""

    module: str
    module_version: str | None = None
    package: str = "tool"
    ldflags: dict[str, str] = Field(default_factory=dict)
    rename: dict[FileName, FileName] = Field(default_factory=dict)
    embed: dict[FileName, InnerPath] = Field(default_factory=dict)
    omit: list[str] = Field(default_factory=list)
    scripts_module: str | None = None
    scripts: dict[FileName, InnerPath] = Field(default_factory=dict)


class Tool(_Entry):
    """One tool group: a version and the binaries it gives. An optional one comes only when it is named."""

    version: Version
    binaries: list[FileName] = Field(min_length=1)
    optional: bool = False
    on_path: dict[FileName, list[str]] = Field(default_factory=dict)
    release: Release | None = None
    build: Build


class Go(_Entry):
    """The Go that builds the groups; `sum` is the go.sum hash of golang.org/toolchain, by architecture."""

    version: Version
    sum: dict[str, Annotated[str, StringConstraints(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]]


class Versions(_Entry):
    """All of versions.yaml."""

    go: Go
    tools: dict[FileName, Tool]
    manifests: dict[FileName, dict[FileName, InnerPath]]

    @property
    def usual(self) -> list[str]:
        """The groups that every region needs."""
        return [group for group, tool in self.tools.items() if not tool.optional]


def load(path: Path = TOOLCHAIN / "versions.yaml") -> Versions:
    """Read and check versions.yaml. Raises VersionsError, naming the key."""
    try:
        return Versions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise VersionsError(
            f"{path} cannot be read", str(error), "Restore it from the repository."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise VersionsError(
            f"{path.name} is wrong at {key}", str(first["msg"]), "Compare it with the comment at its top."
        ) from error


@functools.cache
def versions() -> Versions:
    """The versions of this checkout."""
    return load()


def architecture() -> str:
    """This machine's architecture in Go's words."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def expand(template: str, version: str, **more: str) -> str:
    """Fill a template of versions.yaml."""
    arch = architecture()
    major, minor, _ = version.split(".")
    names = {
        "version": version,
        "major": major,
        "minor": minor,
        "arch": arch,
        "arch_x64": {"amd64": "x64"}.get(arch, arch),
    }
    return template.format(**names, **more)


def cache_key(group: str, tool: Tool, sources: Path | None = None) -> str:
    """What the cached files of `group` depend on: version, Go module files, recipe and machine; not a URL."""
    folder = sources or TOOLCHAIN / group
    described = tool.model_dump(mode="json", include={"version", "binaries", "build"})
    if not tool.build.omit:
        del described["build"]["omit"]  # younger than most caches, which stay valid without it
    parts: Mapping[str, object] = {
        "tool": described,
        "files": {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.glob("*"))
            if file.name in {"go.mod", "go.sum"} or file.suffix == ".go"
        },
        "recipe": RECIPE,
        "arch": architecture(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
