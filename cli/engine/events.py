"""Pulumi's event stream as one line per component.

A component is a resource directly below the stack (`infra/topology.py` makes them); what lies below
it is counted, not listed. What failed is kept with its message.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.console import log
from toolchain.progress import Progress

if TYPE_CHECKING:
    from pulumi.automation import EngineEvent

_STACK_TYPE = "pulumi:pulumi:Stack"
# Looking is no change, and says nothing about what the program then wants.
_LOOKING = {"refresh", "read", "discard"}
_DOING = {
    "create": "creating",
    "update": "updating",
    "delete": "deleting",
    "refresh": "looking at",
    "same": "checking",
    "read": "reading",
    "replace": "replacing",
    "create-replacement": "replacing",
    "delete-replaced": "deleting",
}


@dataclass
class Component:
    """What happened below one component: the last operation on each resource, by URN."""

    name: str
    operations: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    ended: float = field(default_factory=time.monotonic)

    @property
    def changed(self) -> int:
        """Resources that were or would be created, updated, replaced or deleted, or that failed."""
        return sum(1 for kind in self.operations.values() if kind != "same")

    @property
    def unchanged(self) -> int:
        """Resources that are as declared."""
        return sum(1 for kind in self.operations.values() if kind == "same")

    def result(self) -> str:
        """`9 unchanged`, or `2 create, 1 update, 9 unchanged`."""
        counts = Counter(kind for kind in self.operations.values() if kind != "same")
        changes = [f"{count} {kind}" for kind, count in sorted(counts.items())]
        return (
            ", ".join([*changes, *([f"{self.unchanged} unchanged"] if self.unchanged else [])]) or "nothing"
        )


@dataclass(frozen=True)
class Failure:
    """A resource that could not be brought to its state, in the provider's words."""

    resource: str
    message: str


class Stream:
    """Feed it every event; read `components`, `steps` and `failures` when the run is over."""

    def __init__(self, progress: Progress) -> None:
        self.components: dict[str, Component] = {}
        self.failures: list[Failure] = []
        self._progress = progress
        self._parents: dict[str, str] = {}

    def __call__(self, event: EngineEvent) -> None:
        """Take one event; one of a kind that is not known here is passed over."""
        if event.resource_pre_event is not None:
            self._begin(event.resource_pre_event.metadata)
        elif event.res_outputs_event is not None:
            self._end(event.res_outputs_event.metadata)
        elif event.res_op_failed_event is not None:
            self._end(event.res_op_failed_event.metadata, failed=True)
        elif event.diagnostic_event is not None:
            self._diagnose(event.diagnostic_event)

    def finish(self) -> None:
        """Leave the one line of each component. Not before the end: nothing says that no more will come."""
        for component in self.components.values():
            self._progress.done(component.name, component.result(), component.ended - component.begun)

    @property
    def changed(self) -> int:
        """Resources that differ from what was declared, in all."""
        return sum(component.changed for component in self.components.values())

    @property
    def unchanged(self) -> int:
        """Resources that are as declared, in all."""
        return sum(component.unchanged for component in self.components.values())

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What was or would be changed: (operation, logical name)."""
        return [
            (kind, name_of(urn))
            for component in self.components.values()
            for urn, kind in component.operations.items()
            if kind != "same"
        ]

    def _begin(self, metadata: Any) -> None:
        component = self._component(metadata)
        if component is not None:
            operation = _operation(metadata)
            self._progress.update(
                component.name, f"{_DOING.get(operation, operation)} {name_of(metadata.urn)}"
            )

    def _end(self, metadata: Any, *, failed: bool = False) -> None:
        component = self._component(metadata)
        if component is None:
            return
        component.ended = time.monotonic()
        operation = "failed" if failed else _operation(metadata)
        # A component's outputs are an event of their own: the same operation again, counted once.
        if operation not in _LOOKING and (operation != "same" or metadata.urn not in component.operations):
            component.operations[metadata.urn] = operation

    def _diagnose(self, event: Any) -> None:
        message = (event.message or "").strip()
        # The SDK's debug messages print resource properties as they travel, secret ones in clear.
        if not message or event.severity == "debug":
            return
        log.info("pulumi %s %s: %s", event.severity, name_of(event.urn or "-"), message)
        if event.severity == "error":
            self.failures.append(Failure(name_of(event.urn or "the program"), message))
        elif event.urn and (component := self.components.get(self._top(event.urn))):
            self._progress.update(component.name, message.splitlines()[-1])

    def _component(self, metadata: Any) -> Component | None:
        """The component that a step belongs to; None for the stack itself and for providers."""
        if metadata.type == _STACK_TYPE or metadata.type.startswith("pulumi:providers:"):
            return None
        state = metadata.new or metadata.old
        if state is not None and state.parent:
            self._parents[metadata.urn] = state.parent
        top = self._top(metadata.urn)
        return self.components.setdefault(top, Component(name_of(top)))

    def _top(self, urn: str) -> str:
        parent = self._parents.get(urn)
        while parent and f"::{_STACK_TYPE}::" not in parent:
            urn = parent
            parent = self._parents.get(urn)
        return urn


def name_of(urn: str) -> str:
    """The logical name at the end of a URN (`urn:pulumi:<stack>::<project>::<types>::<name>`)."""
    return urn.rsplit("::", 1)[-1]


def _operation(metadata: Any) -> str:
    return str(getattr(metadata.op, "value", metadata.op))
