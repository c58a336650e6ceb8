"""Downloads that end with verified bytes or with a clear error.

A file is written beside its final name as `.part`, continued with a Range request after a cut
(RFC 9110 section 14), checked against the vendor's SHA-256, and only then renamed. A host that
did not answer once is not asked again in the same run.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from toolchain.errors import ChecksumError, UnreachableError

CONNECT_SECONDS = 4.0
READ_SECONDS = 30.0
ATTEMPTS = 4  # of one file: each continues where the one before was cut
_HTTP_OK, _HTTP_PARTIAL, _HTTP_RANGE_NOT_SATISFIABLE = 200, 206, 416
_SHA256 = re.compile(r"^[0-9a-fA-F]{64}$")


class Downloads:
    """Verified downloads into `directory`; remembers for its lifetime which hosts do not answer."""

    def __init__(self, directory: Path, *, transport: httpx.BaseTransport | None = None) -> None:
        self.directory = directory
        self._silent_hosts: dict[str, str] = {}
        # The machine's own trust store: a site's proxy certificate is there, not in a Python package.
        self._client = httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=True,
            verify=ssl.create_default_context(),
            transport=transport,
        )

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def vendor_checksum(self, url: str, file_name: str) -> str:
        """The SHA-256 of `file_name` (lower-case hex) out of the vendor's checksum file at `url`.

        Raises UnreachableError, or ChecksumError where the file does not name a checksum for it.
        """
        self._refuse_silent(url)
        try:
            response = self._client.get(url)
        except httpx.TransportError as error:
            raise self._unreachable(url, error) from error
        if response.status_code != _HTTP_OK:
            raise _refused(url, response.status_code)
        return parse_checksum(response.text, file_name, url)

    def fetch(self, url: str, sha256: str, report: Callable[[int, int | None], None]) -> Path:
        """Bring the file at `url` into the directory and return it; `report` gets bytes so far and in all.

        Raises UnreachableError (the .part file stays and is continued next time) or ChecksumError.
        """
        target = self.directory / sha256[:16] / Path(urlsplit(url).path).name
        if target.exists() and file_sha256(target) == sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        resumed = part.exists()
        self._complete(url, part, report)
        found = file_sha256(part)
        if found != sha256 and resumed:
            # What an earlier run left may belong to another file: once more, from the first byte.
            part.unlink()
            self._complete(url, part, report)
            found = file_sha256(part)
        if found != sha256:
            part.unlink()
            raise ChecksumError(
                f"the download of {url} is corrupt",
                f"its SHA-256 is {found}, the vendor's checksum file says {sha256}",
                "Nothing of it was used. Run again; if it stays, a proxy alters downloads: "
                "set PACS_OFFLINE_RELEASES=1 to build from Go modules.",
            )
        part.rename(target)
        return target

    def _complete(self, url: str, part: Path, report: Callable[[int, int | None], None]) -> None:
        self._refuse_silent(url)
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                if self._append(url, part, report):
                    return
                failure = None
            except httpx.ConnectError as error:
                raise self._unreachable(url, error) from error
            except httpx.ConnectTimeout as error:
                raise self._unreachable(url, error) from error
            except httpx.TransportError as error:
                failure = error
        raise UnreachableError(
            f"the download of {url} was cut {ATTEMPTS} times",
            str(failure or "the connection ended before the file did"),
            f"Run again: it continues after {part.stat().st_size if part.exists() else 0} bytes.",
        )

    def _append(self, url: str, part: Path, report: Callable[[int, int | None], None]) -> bool:
        """One request; True once the file is complete."""
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == _HTTP_RANGE_NOT_SATISFIABLE:
                return True  # all of it is here already; the checksum decides
            if response.status_code not in {_HTTP_OK, _HTTP_PARTIAL}:
                raise _refused(url, response.status_code)
            if response.status_code == _HTTP_OK:
                have = 0  # the server sends all of it, whatever was asked
            length = response.headers.get("Content-Length")
            total = have + int(length) if length and length.isdigit() else None
            with part.open("ab" if have else "wb") as file:
                # As it arrives: what a cut leaves behind must already be in the file.
                for chunk in response.iter_raw():
                    file.write(chunk)
                    have += len(chunk)
                    report(have, total)
                file.flush()
                os.fsync(file.fileno())
        return total is None or have >= total

    def _refuse_silent(self, url: str) -> None:
        host = urlsplit(url).netloc
        if host in self._silent_hosts:
            raise _unreachable(url, self._silent_hosts[host])

    def _unreachable(self, url: str, error: httpx.TransportError) -> UnreachableError:
        reason = str(error) or type(error).__name__
        self._silent_hosts[urlsplit(url).netloc] = reason
        return _unreachable(url, reason)


def parse_checksum(text: str, file_name: str, url: str) -> str:
    """Find `file_name`'s SHA-256 in a vendor's checksum file: a lone hash, or lines `<hash>  [*]<name>`."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1 and _SHA256.match(lines[0][0]):
        return lines[0][0].lower()
    found = {
        fields[0].lower()
        for fields in lines
        if len(fields) == 2 and _SHA256.match(fields[0]) and Path(fields[1].lstrip("*")).name == file_name
    }
    if len(found) == 1:
        return found.pop()
    raise ChecksumError(
        f"the checksum file {url} cannot vouch for {file_name}",
        "it names several checksums for it" if found else "it names no SHA-256 for it",
        "Nothing was downloaded. Set PACS_OFFLINE_RELEASES=1 to build from Go modules.",
    )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreachable(url: str, reason: str) -> UnreachableError:
    host = urlsplit(url).netloc
    return UnreachableError(f"{host} cannot be reached", reason, "Check the network or the proxy settings.")


def _refused(url: str, status: int) -> UnreachableError:
    return UnreachableError(f"{url} is not to be had", f"the server answered {status}", "Check the version.")
