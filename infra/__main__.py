"""The Pulumi program: load RegionConfig, build the topology, export."""

from __future__ import annotations

from infra.program import program

program()
