"""What every row is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.corpus import Corpus
from bench.peers import Peers
from bench.results import Aim
from bench.subjects.subject import Subject


@dataclass(frozen=True)
class Sample:
    """One measurement: how many units were done, and its figures. CPU per unit is added by who runs the row."""

    units: float
    figures: Mapping[str, float]


@dataclass
class Stage:
    """Where a row finds its clients and its files. `memory` is a file system without a disk, for clients' files."""

    peers: Peers
    work: Path
    memory: Path
    quick: bool
    million: bool = False
    corpus: Corpus = field(default_factory=Corpus)

    @property
    def seconds(self) -> int:
        """How long a subject is asked as fast as it answers."""
        return 3 if self.quick else 10

    @property
    def repeats(self) -> int:
        """Five; three where the answer must come soon."""
        return 3 if self.quick else 5


class Row(ABC):
    """One row. Its subjects run side by side and are measured in turn."""

    number: ClassVar[int]
    title: ClassVar[str]
    unit: ClassVar[str]
    client: ClassVar[str]
    aims: ClassVar[Sequence[Aim]]
    notes: ClassVar[Sequence[str]] = ()
    in_memory: ClassVar[bool] = False
    """Subjects keep their files in memory, where the row asks what receiving costs and not the disk."""

    @abstractmethod
    def cases(self, stage: Stage) -> Sequence[str]: ...

    @abstractmethod
    def subjects(self, peers: Peers) -> Sequence[Subject]: ...

    def prepare(self, stage: Stage, subject: Subject) -> None:  # noqa: B027 - most rows need nothing there
        """Bring into `subject` what must lie there before its first case."""

    @abstractmethod
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> AbstractContextManager[Callable[[], Sample]]:
        """Makes ready what is sent, and gives the call that is measured. `turn` names no other measurement."""
