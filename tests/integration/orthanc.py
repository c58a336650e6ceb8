"""Orthanc with its DICOMweb plugin as a real process: a peer that none of us wrote."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import wait_for

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """Its REST interface, and its DICOMweb server below `/dicom-web`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx.Client(base_url=self.url, timeout=60)

    def get(self, path: str) -> Any:
        answer = self._client.get(path)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._client.post(path, content=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def file(self, instance: str) -> bytes:
        return self._client.get(f"/instances/{instance}/file").content

    def is_up(self) -> bool:
        try:
            return self._client.get("/system").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._client.close()


@contextmanager
def orthanc(directory: Path, **servers: dict[str, Any]) -> Iterator[Orthanc]:
    """A running Orthanc that knows these DICOMweb servers; the test is skipped where it is not installed."""
    program = shutil.which("Orthanc")
    if program is None or not _PLUGIN.exists():
        pytest.skip("needs Debian's packages orthanc and orthanc-dicomweb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    directory.mkdir(exist_ok=True)
    configuration = directory / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "Name": "peer", "StorageDirectory": str(directory / "storage"), "IndexDirectory": str(directory / "storage"),
                "HttpPort": port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
                "DicomServerEnabled": False, "Plugins": [str(_PLUGIN)],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers},
            }
        )
    )  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)
        peer = Orthanc(port)
        try:
            wait_for(peer.is_up, 120, "Orthanc answers")
            yield peer
        finally:
            peer.close()
            process.terminate()
            process.wait(60)
