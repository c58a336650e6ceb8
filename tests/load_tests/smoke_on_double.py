"""The smoke test against the double, in a process of its own: Locust patches the whole process for gevent."""

from __future__ import annotations

import sys
from dataclasses import replace

from load_tests.__main__ import run, show  # first: it imports Locust before anything opens a socket

from load_tests.prepare import prepare_scene  # isort: skip
from load_tests.slo import Objectives, judge  # isort: skip
from tests.cli.region_double import RegionDouble, running  # isort: skip


def main() -> int:
    region = RegionDouble()
    with running(region) as target:
        scene = prepare_scene(target, studies=1, slices=3, matrix=16)
        scene.reading_rate, scene.sending_rate = 5, 2
        if "--altered" in sys.argv:
            region.alter = lambda content: content[:-2]
        # Client and double share this process's cores: times here say nothing of a region, failures do.
        real = Objectives.load("smoke")
        patient = tuple(replace(objective, p95=60.0) for objective in real.requests)
        objectives = replace(real, requests=patient, late_starts=1.0)
        verdicts = judge(objectives, run(scene, seconds=2), scene.punctuality)
        show(verdicts, "smoke", target, as_json=True)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
