"""wrk: how many requests a second a subject answers when asked as fast as it answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ClientError
from bench.peers import Peers
from bench.subjects.subject import WebAddress

_SCRIPT = Path(__file__).with_name("wrk.lua")
_RESULT = re.compile(r"^RESULT (\{.*\})$", re.MULTILINE)
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Load:
    """What wrk found. Latencies are of a closed loop: a ceiling, not what a user waits (Locust shows that)."""

    requests: int
    bytes: int
    microseconds: int
    bad_status: int
    broken: int
    p50: int
    p95: int
    p99: int

    @classmethod
    def parse(cls, text: str) -> Load:
        """wrk's output. Raises ClientError where the script printed no result."""
        match = _RESULT.search(text)
        if match is None:
            raise ClientError(
                "wrk gave no result", text.strip()[-300:] or "it printed nothing", "See the log."
            )
        return cls(**json.loads(match[1]))

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / (self.microseconds / 1e6)


@dataclass(frozen=True)
class Asking:
    """What is asked for: paths below the address, and what every answer must have at least, in bytes.

    `own` are headers of each path, in the same order, where there are any.
    """

    paths: Sequence[str]
    accept: str
    smallest: int = 1
    own: Sequence[Mapping[str, str]] = ()


def run(
    peers: Peers, address: WebAddress, asking: Asking, *, connections: int, seconds: int, scratch: Path
) -> Load:
    """Ask for `seconds`. Raises ClientError where an answer was no success, or bytes are missing."""
    scratch.mkdir(parents=True, exist_ok=True)
    paths, headers = scratch / "paths", scratch / "headers"
    own = asking.own or [{}] * len(asking.paths)
    lines = zip(asking.paths, own, strict=True)
    paths.write_text(
        "".join(
            "\t".join([address.path + path, *map(": ".join, more.items())]) + "\n" for path, more in lines
        )
    )
    wanted: Mapping[str, str] = {"Accept": asking.accept, "Accept-Encoding": "gzip", **address.headers}
    headers.write_text("".join(f"{name}: {value}\n" for name, value in wanted.items()))
    threads = min(2, connections)
    command = peers.command(
        "wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s",
        "-s", str(_SCRIPT), address.base,
    )  # fmt: skip
    environment = {
        **os.environ,
        **peers.environment,
        "BENCH_PATHS": str(paths),
        "BENCH_HEADERS": str(headers),
        "BENCH_THREADS": str(threads),
    }
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds + _PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(
            "wrk did not end", f"not within {error.timeout:.0f} s", "See the subject's log."
        ) from error
    load = Load.parse(done.stdout + done.stderr)
    check(load, asking)
    return load


def check(load: Load, asking: Asking) -> None:
    """Raises ClientError unless every answer was a success, and as large as what was asked for."""
    if load.requests == 0:
        raise ClientError(
            "no request was answered", f"{load.broken} connections broke", "See the subject's log."
        )
    if load.bad_status or load.broken:
        raise ClientError(
            f"{load.bad_status} of {load.requests} answers were no success",
            f"and {load.broken} connections broke",
            "See the subject's log.",
        )
    if load.bytes < load.requests * asking.smallest:
        raise ClientError(
            f"answers have {load.bytes // load.requests} bytes",
            f"what was asked for has {asking.smallest}",
            "See the subject's log.",
        )
