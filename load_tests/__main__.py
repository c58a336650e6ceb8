"""`python -m load_tests smoke --stack local`: run one intent, judge it, end with 0 or 1."""

from __future__ import annotations

# Locust patches the standard library for gevent when it is imported: before anything opens a socket.
from locust.env import Environment  # isort: skip

import argparse
import json
import sys
from dataclasses import asdict

import gevent
import requests
from rich.console import Console

from cli.verify.centre import CentreError
from cli.verify.modality import ModalityError
from cli.verify.target import Target, target_of
from infra.config.region import RegionConfigError, load_region
from infra.pki.private_files import PkiError
from load_tests.prepare import NotPreparedError, prepare_scene
from load_tests.scene import Scene
from load_tests.shapes.smoke import Smoke
from load_tests.slo import Objectives, Samples, SloError, Verdict, judge, table
from load_tests.users.modality import CtScanner
from load_tests.users.reading_room import ReadingRoom
from toolchain.paths import state_directory

_KEPT, _MISSED, _WRONG_CONFIGURATION, _STEP_FAILED = 0, 1, 2, 4


def run(scene: Scene, seconds: float) -> Samples:
    """Let the users of the smoke shape work on `scene` for `seconds`; every request they made."""
    samples = Samples()
    ReadingRoom.scene = CtScanner.scene = scene
    Smoke.seconds = seconds
    shape = Smoke()  # type: ignore[no-untyped-call]
    environment = Environment(
        user_classes=[ReadingRoom, CtScanner], shape_class=shape, catch_exceptions=False
    )
    environment.events.request.add_listener(samples.take)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    runner.start_shape()
    if runner.shape_greenlet is not None:
        runner.shape_greenlet.join()
    # Users may still finish a journey; a run that does not end is cut off and shows as failures.
    with gevent.Timeout(60, False):
        while runner.user_count:
            gevent.sleep(0.1)
    runner.quit()
    return samples


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests", description=__doc__)
    parser.add_argument("intent", choices=["smoke"])
    parser.add_argument("--stack", default="local")
    parser.add_argument("--site", help="the branch that sends (default: the first)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the verdicts as JSON on stdout")
    options = parser.parse_args(arguments)
    err = Console(stderr=True)
    try:
        objectives = Objectives.load(options.intent)
        target = target_of(load_region(options.stack), state_directory(options.stack), site=options.site)
    except (SloError, RegionConfigError, PkiError) as error:
        err.print(f"load: {error}", style="red", markup=False)
        return _WRONG_CONFIGURATION
    err.print("load: sending studies and waiting for them at the centre")
    try:
        scene = prepare_scene(target, seed=options.seed)
    except (NotPreparedError, ModalityError, CentreError, requests.RequestException) as error:
        err.print(f"load: {error}", style="red", markup=False)
        return _STEP_FAILED
    err.print(f"load: {options.intent}, {options.seconds:.0f} s")
    verdicts = judge(objectives, run(scene, options.seconds), scene.punctuality)
    show(verdicts, options.intent, target, as_json=options.json)
    return _KEPT if all(verdict.kept for verdict in verdicts) else _MISSED


def show(verdicts: list[Verdict], intent: str, target: Target, *, as_json: bool) -> None:
    if as_json:
        kept = all(verdict.kept for verdict in verdicts)
        document = {
            "intent": intent,
            "stack": target.stack,
            "kept": kept,
            "objectives": [*map(asdict, verdicts)],
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        Console().print(table(verdicts, f"{intent} on {target.stack}"))


if __name__ == "__main__":
    sys.exit(main())
