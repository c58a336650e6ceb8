"""Orthanc as a DICOM peer: Debian's program with a directory of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.network import free_port
from tests.integration.dicom_peers import PROGRAMS
from tests.waiting import wait_for

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """One Orthanc of the AE title `ORTHANC`; it knows the archive as `archive`, which may store, query and retrieve."""

    def __init__(
        self, directory: Path, archive_port: int, *, dicom_port: int, servers: dict[str, Any] | None = None
    ) -> None:
        """`servers`: the DICOMweb servers that it knows by name; with them it loads its DICOMweb plugin."""
        program = shutil.which("Orthanc", path=PROGRAMS)
        if program is None or not PLUGIN.exists():
            pytest.skip("needs Orthanc: apt-get install orthanc orthanc-dicomweb")
        self.dicom_port, self.http_port = dicom_port, free_port()
        configuration = {
            "Name": "peer", "StorageDirectory": str(directory / "store"), "IndexDirectory": str(directory / "store"),
            "DicomAet": "ORTHANC", "DicomPort": self.dicom_port, "HttpPort": self.http_port, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": True,
            "Plugins": [] if servers is None else [str(PLUGIN)],
            "DefaultEncoding": "Utf8", "StableAge": 1,
            "DicomModalities": {
                "archive": {"AET": "PACS", "Host": "127.0.0.1", "Port": archive_port, "AllowMove": True, "AllowGet": True}
            },
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers or {}},
        }  # fmt: skip
        (directory / "orthanc.json").write_text(json.dumps(configuration))
        self._log = (directory / "orthanc.log").open("wb")
        self._process = subprocess.Popen(
            [program, str(directory / "orthanc.json")], stdout=self._log, stderr=subprocess.STDOUT
        )
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._http = httpx.Client(base_url=self.url, timeout=60)
        wait_for(self._answers, 60, "Orthanc answers", every=0.2)

    def post(self, path: str, document: Any) -> Any:
        """The JSON that a POST of JSON, or of bytes, answers."""
        body = {"content": document} if isinstance(document, bytes) else {"json": document}
        answer = self._http.post(path, **body)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def file(self, instance: str) -> bytes:
        """A stored instance's Part 10 bytes."""
        return self._http.get(f"/instances/{instance}/file").content

    def instances(self, study_uid: str) -> list[str]:
        """Orthanc's own identifiers of the instances of a study that it has."""
        asked = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}}
        return list(self.post("/tools/find", asked))

    def close(self) -> None:
        """End it."""
        self._http.close()
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Orthanc ended"
        try:
            return self._http.get("/system").status_code == 200
        except httpx.TransportError:
            return False
