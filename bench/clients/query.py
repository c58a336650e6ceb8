"""DCMTK's findscu, getscu and movescu: one association, and what came over it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.errors import CannotError, ClientError
from bench.peers import Peers
from bench.subjects.subject import CALLING_AE, DimseAddress

_SECONDS = 900
_NOT_OFFERED = re.compile("No (acceptable|adequate) presentation contexts", re.IGNORECASE)


def find(peers: Peers, to: DimseAddress, keys: Sequence[str], *, repeat: int, expected: int) -> float:
    """The same C-FIND (Study Root) `repeat` times; the seconds. Raises ClientError for another number of matches."""
    words = [word for key in keys for word in ("-k", key)]
    seconds, text = _run(peers, "findscu", ["-v", "-S", "--repeat", str(repeat), *words], to, "C-FIND")
    found = text.count("(Pending)")
    if found != expected * repeat:
        raise ClientError(
            f"{found} matches came", f"{repeat} queries should give {expected} each", "See the log."
        )
    return seconds


def get(peers: Peers, to: DimseAddress, study: str, into: Path, *, expected: int) -> float:
    """C-GET of a study into `into`; the seconds. Raises ClientError unless every instance came."""
    into.mkdir(parents=True)
    words = ["-v", "-S", "+B", "-pdu", "131072", "-od", str(into), *_study(study)]
    seconds, _ = _run(peers, "getscu", words, to, "C-GET")
    return _all_there(into, expected, seconds)


def move(peers: Peers, to: DimseAddress, study: str, into: Path, *, port: int, expected: int) -> float:
    """C-MOVE of a study to ourselves, listening on `port`; the seconds. Raises ClientError unless every instance came."""
    into.mkdir(parents=True)
    words = [
        "-v",
        "-S",
        "+B",
        "-pdu",
        "131072",
        "-aem",
        CALLING_AE,
        "+P",
        str(port),
        "-od",
        str(into),
        *_study(study),
    ]
    seconds, _ = _run(peers, "movescu", words, to, "C-MOVE")
    return _all_there(into, expected, seconds)


def _study(uid: str) -> list[str]:
    return ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}"]


def _run(peers: Peers, program: str, words: Sequence[str], to: DimseAddress, verb: str) -> tuple[float, str]:
    command = peers.command(
        program, *words, "-aet", CALLING_AE, "-aec", to.ae_title, "127.0.0.1", str(to.port)
    )
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, env={**os.environ, **peers.environment}, capture_output=True, text=True, errors="replace",
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ClientError(
            f"{program} did not end", f"not within {_SECONDS} s", "See the subject's log."
        ) from error
    seconds, text = time.monotonic() - begun, done.stdout + done.stderr
    if _NOT_OFFERED.search(text):
        raise CannotError(f"it offers no {verb}")
    if done.returncode:
        last = " | ".join(line for line in text.splitlines() if line[:2] in ("E:", "F:", "W:"))
        raise ClientError(
            f"{program} ended with {done.returncode}", last[-300:] or "no reason given", "See the log."
        )
    return seconds, text


def _all_there(folder: Path, expected: int, seconds: float) -> float:
    count = sum(1 for _ in folder.iterdir())
    if count != expected:
        raise ClientError(
            f"{count} of {expected} instances came", "the others did not", "See the subject's log."
        )
    return seconds
