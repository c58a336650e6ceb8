"""DCMTK's storescu: sends files over as many associations as asked for, one process each."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.errors import ClientError
from bench.peers import Peers
from bench.subjects.subject import CALLING_AE, DimseAddress

_SECONDS = 600
_RESPONSE = re.compile(r"^I: Received Store Response \((?P<status>[^)]*)\)", re.MULTILINE)
_SENDING = re.compile(r"^I: Sending file: ", re.MULTILINE)


@dataclass(frozen=True)
class Sent:
    """What storescu says of one association: files that it sent, and how each was answered."""

    files: int
    successes: int
    first_refusal: str | None

    @classmethod
    def parse(cls, text: str) -> Sent:
        """The output of `storescu -v`."""
        answers = [match["status"] for match in _RESPONSE.finditer(text)]
        refusal = next((status for status in answers if status != "Success"), None)
        return cls(len(_SENDING.findall(text)), answers.count("Success"), refusal)


def send(peers: Peers, folders: Sequence[Path], to: DimseAddress, expected: int) -> float:
    """Send the files of each folder over an association of its own, all at once; the seconds until the last ended.

    Raises ClientError unless every one of `expected` files was answered with success.
    """
    with contextlib.ExitStack() as stack:
        # Not pipes: one that fills would hold its sender up while another is read.
        outputs = [stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in folders]
        begun = time.monotonic()
        running = [
            subprocess.Popen(
                _command(peers, folder, to), env={**os.environ, **peers.environment}, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )
            for folder, output in zip(folders, outputs, strict=True)
        ]  # fmt: skip
        try:
            for process in running:
                process.wait(_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ClientError(
                "storescu did not end", f"not within {_SECONDS} s", "Look at the subject's log."
            ) from error
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        seconds = time.monotonic() - begun
        texts = [_read(output) for output in outputs]
    _check([Sent.parse(text) for text in texts], texts, expected)
    return seconds


def _command(peers: Peers, folder: Path, to: DimseAddress) -> list[str]:
    return peers.command(
        "storescu", "-v", "-nh", "--max-pdu", "131072", "-aet", CALLING_AE, "-aec", to.ae_title,
        "+sd", "127.0.0.1", str(to.port), str(folder),
    )  # fmt: skip


def _read(output: IO[str]) -> str:
    output.seek(0)
    return output.read()


def _check(answers: Sequence[Sent], texts: Sequence[str], expected: int) -> None:
    taken = sum(answer.successes for answer in answers)
    if taken != expected:
        refusal = next((answer.first_refusal for answer in answers if answer.first_refusal), None)
        said = refusal or " | ".join(text for text in texts[0].splitlines() if not text.startswith("I:"))
        raise ClientError(
            f"{taken} of {expected} instances were taken", said or "storescu gave no reason", "See the log."
        )
