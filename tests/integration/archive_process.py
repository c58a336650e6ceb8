"""`python -m services.archive` as a real process, for integration tests."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from tests.services.archive.tokens import Issuer


class ArchiveProcess:
    """One archive with a directory of its own; ports are chosen by the kernel and read from its log."""

    def __init__(self, directory: Path, dsn: str, issuer: Issuer, **environment: str) -> None:
        self.directory, self.issuer = directory, issuer
        issuer.write_jwks(directory / "tokens.jwks")
        (directory / "dsn").write_text(dsn)
        self.environment = {
            "PACS_REGION": "local", "PACS_INSTITUTION": "yanan", "PACS_SITE": "yanchang",
            "PACS_HTTP_HOST": "127.0.0.1", "PACS_HTTP_PORT": "0", "PACS_INTERNAL_PORT": "0",
            "PACS_DIMSE_HOST": "127.0.0.1", "PACS_DIMSE_PORT": "0", "PACS_AE_TITLE": "PACS",
            "PACS_DIMSE_CALLERS": json.dumps([{"ae_title": "MODALITY", "network": "127.0.0.0/8"}]),
            "PACS_SPOOL_DIRECTORY": str(directory / "spool"), "PACS_QUARANTINE_DIRECTORY": str(directory / "quarantine"),
            "PACS_STORE_DIRECTORY": str(directory / "store"), "PACS_DATABASE_URL_FILE": str(directory / "dsn"),
            "PACS_TOKEN_JWKS_FILE": str(directory / "tokens.jwks"), "PACS_SEAL_IDLE_SECONDS": "0.2",
            "PACS_SEAL_AGE_SECONDS": "0.5", "PACS_SPOOL_RESERVE_BYTES": "1048576",
        } | environment  # fmt: skip
        self.ports: dict[str, int] = {}
        self.log: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start and wait until all three listeners are up."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.archive"],
            env={**os.environ, **self.environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        found: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, found), daemon=True).start()
        self.ports = {}
        while len(self.ports) < 3:
            line = found.get(timeout=90)  # on a busy machine Python alone takes many seconds to start
            assert line is not None, f"the archive ended: {self.log[-5:]}"
            if line.get("message") == "listening":
                self.ports[line["action"]] = line["port"]

    def run(self, command: str) -> str:
        """Run a chore such as `rebuild`; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "services.archive", command],
            env={**os.environ, **self.environment}, check=True, stdout=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGKILL)

    def url(self, path: str = "/dicom-web", listener: str = "http") -> str:
        return f"http://127.0.0.1:{self.ports[listener]}{path}"

    def get(self, path: str, *, listener: str = "http", **headers: str) -> httpx.Response:
        return httpx.get(self.url(path, listener), headers={**self.issuer.bearer(), **headers}, timeout=30)

    def _read(self, process: "subprocess.Popen[str]", found: "queue.Queue[dict[str, Any] | None]") -> None:
        assert process.stderr is not None
        for text in process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text.rstrip(), "raw": True}
            self.log.append(line)
            found.put(line)
        found.put(None)
