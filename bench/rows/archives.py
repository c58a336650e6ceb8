"""Subjects and aims of rows that compare archives: ours with Orthanc in both of its configurations."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers import Peers
from bench.results import Aim
from bench.subjects.archive import Archive
from bench.subjects.orthanc import Orthanc
from bench.subjects.subject import Subject

PEERS = ("orthanc", "orthanc-defaults")


def archives(peers: Peers, *, in_ceph: bool = False) -> Sequence[Subject]:
    """Ours keeps packs in the file system, as a branch does, or in Ceph, as the centre does; Orthanc its files."""
    return [Archive(peers.ceph if in_ceph else None), Orthanc(peers, fair=True), Orthanc(peers, fair=False)]


def at_least(figure: str, factor: float, case: str | None = None) -> list[Aim]:
    """That many times each Orthanc's rate: neither of its configurations is always the faster one."""
    return [Aim(figure, "archive", peer, case=case, at_least=factor) for peer in PEERS]


def at_most(figure: str, factor: float, case: str | None = None) -> list[Aim]:
    """At most that share of what each Orthanc takes."""
    return [Aim(figure, "archive", peer, case=case, at_most=factor) for peer in PEERS]
