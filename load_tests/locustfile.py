"""For `locust -f load_tests/locustfile.py`: the same users and shape, with Locust's own web page.

`PACS_STACK` names the region (default: local). Objectives are judged by `python -m load_tests`.
"""

from __future__ import annotations

import os
from typing import Any

from locust import events

from cli.verify.target import target_of
from infra.config.region import load_region
from load_tests.prepare import prepare_scene
from load_tests.shapes.smoke import Smoke
from load_tests.users.modality import CtScanner
from load_tests.users.reading_room import ReadingRoom
from toolchain.paths import state_directory

__all__ = ["CtScanner", "ReadingRoom", "Smoke"]


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def set_the_scene(**_: Any) -> None:
    """Studies first, readers after."""
    stack = os.environ.get("PACS_STACK", "local")
    scene = prepare_scene(target_of(load_region(stack), state_directory(stack)))
    ReadingRoom.scene = CtScanner.scene = scene
