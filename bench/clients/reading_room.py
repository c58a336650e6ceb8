"""`python -m bench.clients.reading_room`: Locust's reading room against one address, in a process of its own.

Locust patches the standard library when it is imported. What to do comes as one JSON document on stdin, what was
seen goes out as one on stdout.
"""

from __future__ import annotations

# Before anything opens a socket.
from locust.env import Environment  # isort: skip

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import gevent

from cli.verify.target import DicomNode, Target
from load_tests.data.synthetic import RunUids
from load_tests.scene import Scene
from load_tests.slo import Samples, percentile
from load_tests.users.reading_room import ReadingRoom

JOURNEY = "open a study"
ROLE = "reading room"


def scene_of(wanted: dict[str, Any]) -> Scene:
    """The scene that `wanted` describes: where to read, how often, and which studies lie there."""
    target = Target(
        stack="bench",
        branch=DicomNode("127.0.0.1", 0, ""),
        calling_ae="",
        centre_url=wanted["url"],
        token=wanted["token"],
        ca_file=Path(wanted["ca_file"]) if wanted["ca_file"] else None,
        centre_address=("127.0.0.1", wanted["port"]),
    )
    scene = Scene(target, RunUids(UUID(wanted["run"])), wanted["seed"], reading_rate=wanted["rate"])
    scene.studies = [scene.study(label) for label in wanted["labels"]]
    return scene


def seen(samples: Samples, scene: Scene) -> dict[str, Any]:
    """Journeys from their planned start, failures of any request, and how many starts were late."""
    journeys = samples.seconds.get(JOURNEY, [])
    punctual = scene.plan_of(ROLE)
    return {
        "journeys": len(journeys),
        "p95": percentile(journeys, 0.95) if journeys else None,
        "failed": sum(samples.failed.values()),
        "reason": next(iter(samples.reasons.values()), None),
        "starts": punctual.starts,
        "late": punctual.late,
    }


def main() -> None:
    wanted: dict[str, Any] = json.load(sys.stdin)
    scene, samples = scene_of(wanted), Samples()
    ReadingRoom.scene = scene
    environment = Environment(user_classes=[ReadingRoom], catch_exceptions=False)
    environment.events.request.add_listener(samples.take)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    runner.start(1, spawn_rate=1)
    gevent.sleep(wanted["seconds"])
    runner.quit()
    json.dump(seen(samples, scene), sys.stdout)


if __name__ == "__main__":
    main()
