"""`python -m services.archive` as a real process."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import ServerError
from toolchain.paths import REPOSITORY

_LISTENERS = 3
INSTITUTION = "yanan"
"""Whose images it takes."""


class ArchiveServer:
    """One archive with a directory of its own; ports are chosen by the kernel and read from its log."""

    def __init__(self, directory: Path, dsn: str, jwks: str, **environment: str) -> None:
        self.directory = directory
        (directory / "tokens.jwks").write_text(jwks)
        (directory / "dsn").write_text(dsn)
        self.environment = {
            "PACS_REGION": "local", "PACS_INSTITUTION": INSTITUTION, "PACS_SITE": "yanchang",
            "PACS_HTTP_HOST": "127.0.0.1", "PACS_HTTP_PORT": "0", "PACS_INTERNAL_PORT": "0",
            "PACS_DIMSE_HOST": "127.0.0.1", "PACS_DIMSE_PORT": "0", "PACS_AE_TITLE": "PACS",
            "PACS_DIMSE_CALLERS": json.dumps([{"ae_title": "MODALITY", "network": "127.0.0.0/8"}]),
            "PACS_SPOOL_DIRECTORY": str(directory / "spool"), "PACS_QUARANTINE_DIRECTORY": str(directory / "quarantine"),
            "PACS_STORE_DIRECTORY": str(directory / "store"), "PACS_DATABASE_URL_FILE": str(directory / "dsn"),
            "PACS_TOKEN_JWKS_FILE": str(directory / "tokens.jwks"),
        } | environment  # fmt: skip
        self.ports: dict[str, int] = {}
        self.log: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None

    def command(self, *words: str) -> Sequence[str]:
        """How the process is started."""
        return [sys.executable, "-m", "services.archive", *words]

    def start(self) -> None:
        """Start and wait until all three listeners are up. Raises ServerError where it ends instead."""
        self._process = subprocess.Popen(
            self.command(), env=self._variables(), stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        found: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, found), daemon=True).start()
        self.ports = {}
        while len(self.ports) < _LISTENERS:
            try:
                line = found.get(timeout=90)  # on a busy machine Python alone takes many seconds to start
            except queue.Empty:
                line = None
            if line is None:
                self.close()
                raise ServerError(
                    "the archive did not start", f"it said {self.log[-5:]}", "See its log above."
                )
            if line.get("message") == "listening":
                self.ports[line["action"]] = line["port"]

    def run(self, command: str) -> str:
        """Run a chore such as `rebuild`; what it printed."""
        done = subprocess.run(
            self.command(command), env=self._variables(), check=True, stdout=subprocess.PIPE, text=True,
            timeout=60, cwd=REPOSITORY,
        )  # fmt: skip
        return done.stdout

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError("the archive is not running", "it was not started", "Start it first.")
        return self._process.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        if self._process is None:
            raise ServerError("the archive is not running", "it was not started", "Start it first.")
        self._process.send_signal(number)
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def close(self) -> None:
        """End it at once, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGKILL)

    def url(self, path: str = "/dicom-web", listener: str = "http") -> str:
        return f"http://127.0.0.1:{self.ports[listener]}{path}"

    def _variables(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def _read(self, process: subprocess.Popen[str], found: queue.Queue[dict[str, Any] | None]) -> None:
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        for text in process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text.rstrip(), "raw": True}
            self.log.append(line)
            found.put(line)
        found.put(None)
