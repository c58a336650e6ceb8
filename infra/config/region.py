"""RegionConfig, and how it is read: from a stack file, or from Pulumi's configuration."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from infra.config import rules
from infra.config.sections import (
    Archive,
    Branch,
    Database,
    Datacenter,
    Gateway,
    Hosts,
    Identity,
    Images,
    Kubernetes,
    Network,
    ObjectStoreConfig,
    Observability,
    Section,
)

CONFIG_KEY = "pacs:region"
STACKS = Path(__file__).resolve().parents[2] / "stacks"


class RegionConfigError(Exception):
    """A stack file is missing or wrong; each line names the key, what it has and what is allowed."""


class RegionConfig(Section):
    """A whole region: the single truth that inventory, settings, dashboards and load profiles derive from."""

    region: Identity
    network: Network
    kubernetes: Kubernetes
    images: Images
    hosts: Hosts
    datacenter: Datacenter
    object_store: ObjectStoreConfig
    database: Database
    gateway: Gateway
    archive: Archive
    observability: Observability
    branches: list[Branch] = Field(default_factory=list)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> RegionConfig:
        rules.check(self)
        return self

    @property
    def gateway_name(self) -> str:
        """The name of DICOMweb and ingest."""
        return f"pacs.{self.region.domain}"

    @property
    def ca_name(self) -> str:
        """The name of enrolment and renewal."""
        return f"ca.{self.region.domain}"

    def branch(self, site: str) -> Branch:
        """The branch of a site. Raises RegionConfigError naming the sites there are."""
        for branch in self.branches:
            if branch.site == site:
                return branch
        known = ", ".join(branch.site for branch in self.branches) or "none"
        raise RegionConfigError(f"no branch {site!r} in this region; there are: {known}")


def stack_file(stack: str) -> Path:
    """Where the configuration of `stack` lies."""
    return STACKS / f"Pulumi.{stack}.yaml"


def load_region(stack: str) -> RegionConfig:
    """Read and check `stacks/Pulumi.<stack>.yaml`. Raises RegionConfigError with every fault at once."""
    path = stack_file(stack)
    if not path.is_file():
        known = sorted(found.name.split(".")[1] for found in STACKS.glob("Pulumi.*.yaml"))
        raise RegionConfigError(
            f"no stack {stack!r}: {path} is not there; stacks: {', '.join(known) or 'none'}"
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as problem:
        raise RegionConfigError(f"{path}: not YAML: {problem}") from problem
    region = document.get("config", {}).get(CONFIG_KEY) if isinstance(document, Mapping) else None
    if not isinstance(region, Mapping):
        raise RegionConfigError(f"{path}: got no mapping under config: {CONFIG_KEY}; see stacks/README.md")
    return parse_region(region, source=str(path))


def parse_region(document: Mapping[str, Any] | str, *, source: str) -> RegionConfig:
    """A RegionConfig from plain data, or from Pulumi's JSON text of it. Raises RegionConfigError."""
    data = json.loads(document) if isinstance(document, str) else document
    try:
        return RegionConfig.model_validate(data)
    except ValidationError as problem:
        faults = "\n".join(f"  {line}" for line in _describe(problem))
        raise RegionConfigError(f"{source}:\n{faults}") from None


def _describe(problem: ValidationError) -> Iterator[str]:
    for fault in problem.errors(include_url=False):
        path = _path(fault)
        if fault["type"] == "extra_forbidden":
            yield f"{path}: unknown key{_did_you_mean(str(fault['loc'][-1]))}"
        elif fault["type"] == "missing":
            yield f"{path}: required, but not there"
        elif fault["type"] == "value_error":
            text = str(fault["ctx"]["error"])
            yield f"{path}: {text}" if fault["loc"] else text
        else:
            yield f"{path}: got {fault['input']!r}; {fault['msg']}"


# Pydantic puts the chosen variant of a union into the location; no such key is in the file.
_VARIANTS = {
    "images": {"directory", "registry"},
    "hosts": {"nspawn", "ssh"},
    "data_pool": {"replicated", "erasure"},
}


def _path(fault: ErrorDetails) -> str:
    path, before = CONFIG_KEY, ""
    for part in fault["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _VARIANTS.get(before, ()):
            path += f".{part}"
            before = part
    return path


def _did_you_mean(key: str) -> str:
    close = difflib.get_close_matches(key, sorted(_known_keys()), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; see stacks/region.schema.json for those there are"


@functools.cache
def _known_keys() -> frozenset[str]:
    schema = RegionConfig.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    return frozenset(key for model in models for key in model.get("properties", {}))
