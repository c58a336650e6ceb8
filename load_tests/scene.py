"""What all users of one run share: the region, the studies to read, the rates and the plan's record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cli.verify.target import Target
from load_tests.arrivals import Punctuality
from load_tests.data.synthetic import CtStudy, RunUids


class Reports(Protocol):
    """Locust's request event, as the clients fire it; `response_time` in milliseconds."""

    def fire(self, **request: object) -> None: ...


@dataclass
class Scene:
    """One run. `studies` lie at the centre before the first reader arrives; rates are arrivals a second."""

    target: Target
    uids: RunUids
    seed: int
    studies: list[CtStudy] = field(default_factory=list)
    reading_rate: float = 1.0
    sending_rate: float = 0.05
    slices_per_study: int = 20
    matrix: int = 256
    punctuality: dict[str, Punctuality] = field(default_factory=dict)

    def plan_of(self, role: str) -> Punctuality:
        """The record of how punctual `role` was, shared by all users of that role."""
        return self.punctuality.setdefault(role, Punctuality())

    def study(self, label: str) -> CtStudy:
        return CtStudy(
            self.uids,
            self.seed,
            self.slices_per_study,
            self.matrix,
            label=label,
            patient_id=f"L{self.uids.token}-{label}",
        )
