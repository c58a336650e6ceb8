"""A real container registry (the distribution project's) on loopback, with TLS and a log-in."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.network import free_port
from toolchain import install
from toolchain.registry_login import Credentials

PUSHER = Credentials("pusher", "a-password-for-tests")  # opens nothing but this registry
_HASH = "$2b$04$LqnPeGkGXBpIps4iAp5WTuVIiuVn3czmNsw7alP2vMo5sypg2lSEW"
START_SECONDS = 20.0


@dataclass
class RegistryProcess:
    """One registry: its name, its files, the certificate that a client must trust, and its process."""

    name: str
    directory: Path
    certificate: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        """Every request, as the registry saw it."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def registry(directory: Path) -> Iterator[RegistryProcess]:
    """Run a registry in `directory` until the block ends; what was pushed stays there."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    certificate, key = _identity(directory)
    (directory / "users").write_text(f"{PUSHER.username}:{_HASH}\n")
    configuration = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "users")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": str(certificate), "key": str(key)},
        },
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(configuration))
    program = install.ensure(["distribution"])["registry"]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(program), "serve", str(directory / "config.yaml")], stdout=log, stderr=log
        )
    running = RegistryProcess(f"127.0.0.1:{port}/pacs", directory, certificate, process)
    try:
        _wait(port, running)
        yield running
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, running: RegistryProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the registry did not start: {running.log()[-2000:]}")


def _identity(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key; made once."""
    certificate, private = directory / "server.crt", directory / "server.key"
    if not certificate.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry of the tests")])
        now = datetime.datetime.now(datetime.UTC)
        signed = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private
