"""A region in one process that can be told to fail: what `verify` must notice.

It is no archive: it keeps what a DICOM port received and answers the few DICOMweb requests that
`verify` makes, so that each fault is one line here. The real archive has its own tests, and
`verify` runs against it in the region's tests.
"""

from __future__ import annotations

import fnmatch
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event

from cli.verify.corpus import stored_frames
from cli.verify.part10 import Part10
from cli.verify.target import DicomNode, Target

TOKEN = "a-token-for-tests"  # opens nothing but this double


@dataclass
class Version:
    uid: str
    content: bytes
    visible_from: float


@dataclass
class RegionDouble:
    """`versions` in order of arrival; the first of a UID is addressable, the others are conflicts."""

    versions: list[Version] = field(default_factory=list)
    alter: Callable[[bytes], bytes] = lambda content: content
    refuse: Callable[[str], bool] = lambda sop_class: False
    delay: float = 0.0
    wait_for_release: bool = False
    asks_for_token: bool = True
    keeps_conflicts: bool = True
    knows_names: bool = True
    loses: int | None = None
    received: int = 0

    def on_store(self, event: Event) -> int:
        if self.refuse(str(event.request.AffectedSOPClassUID)):
            return 0xA700
        self.received += 1
        if self.received == self.loses:
            return 0x0000
        content = event.encoded_dataset()
        uid = str(event.request.AffectedSOPInstanceUID)
        digest = Part10.parse(content).digest
        held = [v for v in self.versions if v.uid == uid]
        if held and (not self.keeps_conflicts or any(Part10.parse(v.content).digest == digest for v in held)):
            return 0x0000
        visible = float("inf") if self.wait_for_release else time.monotonic() + self.delay
        self.versions.append(Version(uid, content, visible))
        return 0x0000

    def on_release(self, _: Event) -> None:
        for version in self.versions:
            version.visible_from = min(version.visible_from, time.monotonic() + self.delay)

    def visible(self) -> dict[str, bytes]:
        """UID -> first version, of those that have arrived at the centre."""
        now = time.monotonic()
        return {v.uid: self.alter(v.content) for v in reversed(self.versions) if v.visible_from <= now}

    def answer(  # noqa: PLR0911 - one answer for each route
        self, path: str, query: dict[str, str]
    ) -> tuple[str, bytes] | None:
        """Content type and body for a GET, None for 404."""
        segments = path.removeprefix("/dicom-web/").split("/")
        datasets = [(_parsed(c), c) for c in self.visible().values()]
        names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        chosen = [
            (ds, content)
            for ds, content in datasets
            if all(str(ds.get(name)) == wanted for name, wanted in zip(names, segments[1::2], strict=False))
        ]
        match segments:
            case ["studies"]:
                pattern = query.get("00100010", query.get("PatientName", "*"))
                chosen = [
                    (ds, c)
                    for ds, c in chosen
                    if ds.PatientID == query.get("00100020", query.get("PatientID"))
                    and self.knows_names
                    and fnmatch.fnmatchcase(_readable(str(ds.PatientName)), pattern)
                ]
                return _json([_header(ds) for ds, _ in chosen])
            case [*_, "metadata"] | [*_, "instances"]:
                offset = int(query.get("offset", 0))
                page = chosen[offset : offset + int(query.get("limit", len(chosen)))]
                return _json([_header(ds) for ds, _ in page])
            case ["studies", _, "conflicts"]:
                return "application/json", json.dumps(self._conflicts()).encode()
            case [*_, uid, "versions", digest]:
                kept = [v.content for v in self.versions if v.uid == uid]
                asked = [content for content in kept if Part10.parse(content).digest == digest]
                return _multipart([self.alter(content) for content in asked], "application/dicom")
            case [*_, "frames", numbers]:
                frames = list(stored_frames(chosen[0][0]))
                wanted = [frames[int(number) - 1] for number in numbers.split(",")]
                return _multipart(wanted, "application/octet-stream")
            case _ if chosen:
                return _multipart([content for _, content in chosen], "application/dicom")
        return None

    def _conflicts(self) -> list[dict[str, str]]:
        first = {v.uid: v for v in reversed(self.versions)}
        return [
            {"sop_instance_uid": v.uid, "digest": Part10.parse(v.content).digest}
            for v in self.versions
            if v is not first[v.uid]
        ]


@cache
def _parsed(content: bytes) -> Dataset:
    return dcmread(BytesIO(content), force=True)


def _readable(name: str) -> str:
    # pydicom leaves the escape sequences of ISO 2022 IR 58 in what it decodes.
    return name.replace("\x1b$)A", "")


_LISTED = {"SOPClassUID", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "InstanceNumber"}


def _header(ds: Any) -> dict[str, Any]:
    return {
        element.tag.json_key: {"vr": element.VR, "Value": [_plain(element.value)]}
        for element in ds
        if element.keyword in _LISTED
    }


def _plain(value: Any) -> Any:
    return int(value) if str(value).isdigit() and len(str(value)) < 6 else str(value)


def _json(document: Any) -> tuple[str, bytes]:
    return "application/dicom+json", json.dumps(document).encode()


def _multipart(parts: list[bytes], kind: str) -> tuple[str, bytes]:
    body = b"".join(b"--b\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + part + b"\r\n" for part in parts)
    return f'multipart/related; type="{kind}"; boundary=b', body + b"--b--\r\n"


@contextmanager
def running(region: RegionDouble) -> Iterator[Target]:
    """The double on loopback, on ports the kernel chose."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if region.asks_for_token and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, "text/plain", b"")
            answer = region.answer(url.path, query)
            return self._send(404, "text/plain", b"") if answer is None else self._send(200, *answer)

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ae = AE(ae_title="BRANCH")
    ae.add_supported_context("1.2.840.10008.1.1")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, AllTransferSyntaxes)
    handlers = [(evt.EVT_C_STORE, region.on_store), (evt.EVT_RELEASED, region.on_release)]
    scp = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Target(
            stack="double",
            branch=DicomNode("127.0.0.1", scp.server_address[1], "BRANCH"),
            calling_ae="MODALITY",
            centre_url=f"http://127.0.0.1:{web.server_address[1]}",
            token=TOKEN,
        )
    finally:
        web.shutdown()
        web.server_close()
        scp.shutdown()
        thread.join()
