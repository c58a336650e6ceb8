"""Addresses, names and rights come from the region and its state directory, and from nowhere else."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from joserfc import jwt

from cli.verify.target import DicomNode, Target, target_of
from infra.config.region import RegionConfigError, load_region
from infra.pki.certificates import ensure_server_certificate
from infra.pki.private_files import PkiError, write_private
from infra.pki.region_ca import RegionNames, ensure_region_ca
from infra.pki.tokens import ensure_token_key

NOW = datetime.now(UTC)
PASSPHRASE = b"sixteen characters and more"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    write_private(state / "secrets/passphrase", PASSPHRASE)
    ensure_region_ca(state / "secrets/pki", PASSPHRASE, RegionNames("local", "pacs.local.test"), NOW)
    ensure_token_key(state / "secrets/pki", PASSPHRASE)
    return state


@pytest.fixture(scope="module")
def region():
    return load_region("local")


def test_a_target_is_the_first_branch_and_the_gateway_of_the_stack(region, state):
    target = target_of(region, state)
    branch = region.branches[0]
    assert target.branch == DicomNode(branch.lan_address, branch.dimse_port, branch.ae_title)
    assert target.calling_ae in {peer.ae_title for peer in branch.calling}
    assert target.dicomweb_url == "https://pacs.pacs.local.test/dicom-web"
    assert target.centre_address == (region.datacenter.nodes[0].address, region.gateway.node_port)


def test_the_token_is_for_this_region_reads_and_lives_at_most_an_hour(region, state):
    key = ensure_token_key(state / "secrets/pki", PASSPHRASE)
    claims = jwt.decode(target_of(region, state, now=NOW).token, key, algorithms=["Ed25519"]).claims
    assert claims["aud"] == "region:local"
    assert claims["iss"] == "https://pacs.pacs.local.test"
    assert "dicomweb:read" in claims["scope"].split()
    assert claims["exp"] - int(NOW.timestamp()) <= 3600


def test_an_unknown_site_is_refused_with_those_there_are(region, state):
    with pytest.raises(RegionConfigError, match="yanchang"):
        target_of(region, state, site="nowhere")


def test_a_stack_that_was_never_brought_up_makes_no_keys_and_says_so(region, tmp_path):
    with pytest.raises(PkiError, match=r"run \./pacs up"):
        target_of(region, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def gateway(state):
    """A TLS server on loopback with the gateway's certificate; it answers with the Host it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["Host"].encode())

        def log_message(self, *_: object) -> None:
            pass

    names = RegionNames("local", "pacs.local.test")
    keys = state / "secrets/pki"
    authorities = ensure_region_ca(keys, PASSPHRASE, names, NOW)
    pair = ensure_server_certificate(authorities, keys, PASSPHRASE, ("pacs.pacs.local.test",), NOW)
    path = state / "server.pem"
    write_private(path, pair.key_pem + pair.chain_pem)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_address
    server.shutdown()
    server.server_close()
    thread.join()


def reach(state, gateway, name, ca_file=None):
    node = DicomNode("127.0.0.1", 1, "X")
    target = Target(
        "x", node, "Y", f"https://{name}", "t", ca_file or state / "secrets/pki/root.crt", gateway
    )
    return target.session().get(f"https://{name}/", timeout=5)


def test_the_centre_is_reached_at_its_address_and_asked_for_by_its_name(state, gateway):
    assert reach(state, gateway, "pacs.pacs.local.test").text == "pacs.pacs.local.test"


def test_a_certificate_of_another_name_is_refused(state, gateway):
    with pytest.raises(requests.exceptions.SSLError):
        reach(state, gateway, "other.pacs.local.test")


def test_a_certificate_of_another_authority_is_refused(state, gateway, tmp_path):
    other = ensure_region_ca(tmp_path, PASSPHRASE, RegionNames("other", "other.test"), NOW)
    path = tmp_path / "other-root.pem"
    path.write_bytes(other.root.certificate.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(requests.exceptions.SSLError):
        reach(state, gateway, "pacs.pacs.local.test", path)
