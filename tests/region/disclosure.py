"""The secrets of a stack as the pieces by which they would be recognised, and a watch over command lines."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from infra.pki.private_files import clear_pem, load_key, read_passphrase
from infra.pki.sealed import unseal
from infra.pki.wrapping_keys import PURPOSE

_SHORTEST = 16
_EVERY_SECONDS = 0.02
# PKCS #8 ends with the public key, which may stand anywhere; its first two lines hold the private one.
_PRIVATE_LINES = 2


def needles(secrets: Path) -> set[str]:
    """Lines of which none may be seen outside `secrets`: of passwords, and of keys encrypted and in clear.

    Single lines, because JSON writes the line ends of a PEM file as `\\n` and would hide a whole one.
    """
    found: set[str] = set()
    passphrase = read_passphrase(secrets / "passphrase")
    for path in (entry for entry in secrets.rglob("*") if entry.is_file()):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.name == "wrapping-keys.sealed":
            opened = unseal(path.read_bytes(), passphrase, PURPOSE, str(path))
            found |= {entry["key"] for entry in json.loads(opened)["keys"]}
        if "PRIVATE KEY-----" not in text:
            if "-----BEGIN" not in text and path.suffix in {"", ".key"}:
                found |= set(_long_lines(text))
            continue
        found |= set(_long_lines(text))
        if "BEGIN ENCRYPTED" in text:
            clear = clear_pem(load_key(path, passphrase)).decode()
            found |= set(list(_long_lines(clear))[:_PRIVATE_LINES])
    return found


def _long_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if len(line.strip()) >= _SHORTEST and not line.startswith("-----"):
            yield line.strip()


def files_with_any(pieces: set[str], *folders: Path) -> list[str]:
    """Files below `folders` that hold one of `pieces`. By grep: many pieces, many megabytes, one pass."""
    command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--file=-"]
    done = subprocess.run(
        [*command, "--", *map(str, folders)],
        input="\n".join(pieces), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout.splitlines()


class CommandLines:
    """While it is entered: every command line of every process that /proc shows, many times a second."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it ended meanwhile
            self._stop.wait(_EVERY_SECONDS)

    def with_any(self, secret: set[str]) -> list[str]:
        """Program names (no more of the line, which holds a secret) of command lines with a piece of `secret`."""
        return sorted(
            {line.split(" ")[0] for line in self.seen.copy() if any(piece in line for piece in secret)}
        )
