"""OHIF as its publisher built it, and a door that serves it and the archive's DICOMweb from one origin."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.archive_process import ArchiveProcess
from tests.page_server import PageHandler, serving_pages
from toolchain.download import Downloads
from toolchain.errors import UnreachableError
from toolchain.paths import cache_directory

# npm's `@ohif/app` (MIT): the built viewer. `npm view @ohif/app@3.13.2 dist` names the same file.
VERSION = "3.13.2"
URL = f"https://registry.npmjs.org/@ohif/app/-/app-{VERSION}.tgz"
SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
_CONFIGURATION = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 1,
    "showLoadingIndicator": True,
    "showCPUFallbackMessage": False,
    "useCPURendering": True,
    "strictZSpacingForVolumeViewport": True,
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "archive",
                "name": "pacs",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "wadoUriRoot": "/dicom-web/wado",
                "qidoSupportsIncludeField": True,
                "supportsFuzzyMatching": True,
                "supportsWildcard": True,
                "imageRendering": "wadors",
                "thumbnailRendering": "thumbnail",
                "thumbnailRequestStrategy": "fetch",
                "enableStudyLazyLoad": True,
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}


def viewer_directory() -> Path:
    """The viewer's files, fetched once and checked; the test is skipped where npm's registry cannot be reached."""
    directory = cache_directory() / "ohif" / VERSION
    if not (directory / "package" / "dist" / "index.html").exists():
        try:
            with Downloads(cache_directory() / "downloads") as downloads:
                archive = downloads.fetch(URL, SHA256, lambda *_: None)
        except UnreachableError as error:
            pytest.skip(f"needs OHIF, which cannot be fetched: {error}")
        with tarfile.open(archive) as files:
            files.extractall(directory)  # noqa: S202 - its hash is pinned
    return directory / "package" / "dist"


@contextmanager
def door(archive: ArchiveProcess) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """The URL of viewer and archive at one origin, and what was asked of the archive with its statuses.

    The door adds the token as the portal's session does; nothing else of a request is changed.
    """
    asked: list[tuple[str, int]] = []
    directory, client = str(viewer_directory()), httpx.Client(timeout=60)

    class Handler(PageHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/dicom-web/"):
                self._pass_on()
            elif path == "/app-config.js":
                self.send(200, "text/javascript", b"window.config = " + json.dumps(_CONFIGURATION).encode())
            else:
                if not (Path(directory) / path.lstrip("/")).is_file():
                    self.path = "/index.html"
                super().do_GET()

        def _pass_on(self) -> None:
            headers = {"Accept": self.headers.get("Accept", "*/*"), **archive.issuer.bearer()}
            answer = client.get(archive.url().removesuffix("/dicom-web") + self.path, headers=headers)
            asked.append((self.path, answer.status_code))
            self.send(answer.status_code, answer.headers.get("content-type", ""), answer.content)

    try:
        with serving_pages(Handler) as address:
            yield address, asked
    finally:
        client.close()
