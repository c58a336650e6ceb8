"""Rules of `services.archive.dimse.destination`: who is called, and over TLS whom the archive believes."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt

from infra.pki.certificates import ensure_server_certificate
from infra.pki.region_ca import RegionNames, ensure_region_ca
from services.archive.dimse.destination import Destination, client_context, destination_of
from services.archive.dimse.peer import PeerAssociation, PeerError
from tests.services.archive.dimse.test_retrieval import Station
from tests.services.archive.samples import CT

PASSPHRASE = b"a passphrase for tests only"
PROPOSALS = [(CT, [str(ExplicitVRLittleEndian)])]


def test_only_declared_titles_are_destinations() -> None:
    known = [Destination("WS1", "10.0.0.1", 104), Destination("WS2", "10.0.0.2", 104)]
    assert destination_of(known, "WS2") is known[1]
    for title in ("", "ws1", "WS3"):
        assert destination_of(known, title) is None


class Secured:
    """A storage SCP behind TLS, with a certificate of a region's CA for these names."""

    def __init__(self, directory: Path, *names: str) -> None:
        now = datetime.now(UTC)
        authorities = ensure_region_ca(directory, PASSPHRASE, RegionNames("local", "pacs.local.test"), now)
        pair = ensure_server_certificate(authorities, directory, PASSPHRASE, list(names), now)
        (directory / "tls.crt").write_bytes(pair.chain_pem)
        (directory / "tls.key").write_bytes(pair.key_pem)
        self.root = directory / "root.pem"
        self.root.write_bytes(authorities.root.pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
        ae, self.station = AE("WS1"), Station()
        ae.add_supported_context(CT, [ExplicitVRLittleEndian])
        self.server = ae.start_server(
            ("127.0.0.1", 0),
            block=False,
            ssl_context=context,
            evt_handlers=[(evt.EVT_C_STORE, self.station.take)],
        )

    @property
    def destination(self) -> Destination:
        return Destination("WS1", "localhost", self.server.server_address[1], tls=True)


def test_a_destination_with_tls_is_believed_by_its_certificate(tmp_path: Path) -> None:
    there = Secured(tmp_path, "localhost")
    try:
        peer = PeerAssociation.open(
            there.destination, "PACS", PROPOSALS, client_context(there.root, None, None)
        )
        assert list(peer.contexts) == [CT]
        peer.release()
    finally:
        there.server.shutdown()


@pytest.mark.parametrize("case", ["another name", "another region", "no CA"])
def test_a_destination_that_cannot_prove_itself_is_not_spoken_to(tmp_path: Path, case: str) -> None:
    for name in ("there", "elsewhere"):
        (tmp_path / name).mkdir()
    there = Secured(tmp_path / "there", "ws9.test" if case == "another name" else "localhost")
    elsewhere = Secured(tmp_path / "elsewhere", "localhost")
    trusted = elsewhere.root if case == "another region" else there.root
    try:
        with pytest.raises(PeerError, match="no CA for it" if case == "no CA" else "did not negotiate"):
            PeerAssociation.open(
                there.destination,
                "PACS",
                PROPOSALS,
                None if case == "no CA" else client_context(trusted, None, None),
            )
    finally:
        there.server.shutdown()
        elsewhere.server.shutdown()
