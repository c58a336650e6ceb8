"""The object store behind our archive, asked directly: what a signed GET of exactly these bytes costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.clients.web import Connection
from bench.subjects.archive import Archive
from bench.subjects.subject import WebAddress, WebOnly
from services.archive.reading.signing import CUSTOMER


class DirectRgw(WebOnly):
    """The radosgw of `archive`, which runs before and after it."""

    name = "rgw-direct"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def start(self, directory: Path) -> None:
        """It runs already."""

    def stop(self) -> None:
        """It ends with the archive."""

    def roots(self) -> Sequence[int]:
        return self._archive.daemons()

    def web(self) -> WebAddress:
        return self._archive.store()

    def configuration(self) -> str:
        return (
            "radosgw of the archive's own store; each frame one signed GET with its range and its SSE-C key"
        )

    def frames(self, study: str, series: str) -> dict[str, tuple[str, Mapping[str, str]]]:
        """SOP Instance UID -> target and headers of the GET that brings the first frame.

        The archive signs them, as it does for its gateway, for 15 minutes.
        """
        with Connection(self._archive.internal()) as connection:
            text = connection.get(f"/studies/{study}/series/{series}", "text/plain").decode()
        packs: list[tuple[str, Mapping[str, str]]] = []
        found: dict[str, tuple[str, Mapping[str, str]]] = {}
        for kind, *fields in (line.split(" ") for line in text.splitlines()):
            if kind == "P":
                packs.append((fields[0], _secret(key=fields[1], md5=fields[2])))
            elif kind == "I":
                target, headers = packs[int(fields[1]) - 1]
                first, length = map(int, fields[6].split(":"))
                found[fields[0]] = (target, {**headers, "Range": f"bytes={first}-{first + length - 1}"})
        return found


def _secret(key: str, md5: str) -> Mapping[str, str]:
    """The headers of SSE-C; none for an object in clear."""
    if key == "-":
        return {}
    return {f"{CUSTOMER}algorithm": "AES256", f"{CUSTOMER}key": key, f"{CUSTOMER}key-md5": md5}
