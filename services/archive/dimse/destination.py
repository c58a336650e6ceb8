"""Application entities that the archive itself calls: targets of C-MOVE and of storage commitment's reports."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.common.settings import AETitle


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a peer listens. `tls`: it is spoken to over TLS, and its certificate must be of a CA that we trust."""

    ae_title: AETitle
    host: str
    port: int
    tls: bool = False


def destination_of(destinations: Iterable[Destination], ae_title: str) -> Destination | None:
    """The declared destination of this AE title; None is nobody, and nobody is called."""
    return next((one for one in destinations if one.ae_title == ae_title), None)


def client_context(ca_file: Path, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """What is demanded of a destination over TLS (PS3.15 B.12): TLS 1.2 or 1.3, its name, and a chain to `ca_file`."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    return context
