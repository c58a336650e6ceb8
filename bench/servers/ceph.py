"""A real Ceph: mon, mgr, one OSD on a file and RGW with TLS, as plain processes in one directory.

Of whatever packages its programs are, the machine's own or those of a root filesystem beside it. It listens on loopback
and is ended by pid: what it shows is the S3 contract and the cost of a request, not a cluster's durability.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.network import free_port
from bench.processes import guarded

PROGRAMS = (
    "ceph",
    "ceph-authtool",
    "ceph-mon",
    "ceph-mgr",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
)
START_SECONDS = 90.0
STORE_NAME = "rgw.test"  # for clients that check names and not addresses, as nginx does
OSD_BYTES = 16 << 30  # sparse


@dataclass(frozen=True, slots=True)
class S3Endpoint:
    """Where the gateway listens and with which credentials; `ca_file` signs its certificate."""

    url: str
    access_key: str
    secret_key: str
    ca_file: Path

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.url.removeprefix("https://")

    def make_bucket(self, name: str) -> None:
        """An empty bucket."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=str(self.ca_file),
        )
        client.create_bucket(Bucket=name)
        client.close()


Command = Callable[[Sequence[str]], Sequence[str]]


def within(root: Path, directory: Path) -> Command:
    """How programs of the unpacked `root` are started: they see this machine's devices, processes and `directory`.

    The mounts are in a namespace of their own that ends with the program.
    """
    script = (
        'mkdir -p "$0$1"; mount --bind "$1" "$0$1"; mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"; '
        'root=$0; shift; exec chroot "$root" "$@"'
    )
    return lambda command: [
        "unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", script,
        str(root), str(directory), *command,
    ]  # fmt: skip


class CephProcesses:
    """The daemons of one small cluster; `command` is how their programs are started."""

    def __init__(self, directory: Path, command: Command = list) -> None:
        self._directory, self._command = directory, command
        self._conf = directory / "ceph.conf"
        self._running: list[subprocess.Popen[bytes]] = []
        self._s3_port = free_port()

    def start(self) -> S3Endpoint:
        """Bring everything up and wait until the gateway answers an S3 request."""
        deadline = time.monotonic() + START_SECONDS
        fsid = str(uuid.uuid4())
        self._write_configuration(fsid, free_port())
        for folder in ("mon", "mgr", "osd"):
            (self._directory / folder).mkdir()
        monmap = str(self._directory / "monmap")
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", self._mon, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", str(self._make_keys()))
        self._spawn("ceph-mon", "-i", "a")
        self._spawn("ceph-mgr", "-i", "x")
        osd_uuid = str(uuid.uuid4())
        self._ceph("osd", "new", osd_uuid)
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd_uuid)
        self._spawn("ceph-osd", "-i", "0")
        self._spawn("radosgw", "-n", "client.rgw")
        self._wait_for_gateway(deadline)
        user = json.loads(self._run("radosgw-admin", "user", "create", "--uid=pacs", "--display-name=pacs"))
        key = user["keys"][0]
        return S3Endpoint(
            f"https://127.0.0.1:{self._s3_port}",
            key["access_key"],
            key["secret_key"],
            self._directory / "ca.pem",
        )

    @property
    def pids(self) -> list[int]:
        """The daemons that run."""
        return [process.pid for process in self._running]

    def stop(self) -> None:
        """End the daemons, the last started first."""
        for process in reversed(self._running):
            process.terminate()
        for process in reversed(self._running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _write_configuration(self, fsid: str, mon_port: int) -> None:
        here = self._directory
        write_certificates(here)
        self._mon = f"[v2:127.0.0.1:{mon_port}]"
        self._conf.write_text(f"""
[global]
fsid = {fsid}
mon_host = {self._mon}
ms_bind_ipv4 = true
public_addr = 127.0.0.1
keyring = {here}/keyring
admin_socket = {here}/$name.asok
log_file = {here}/$name.log
pid_file =
run_dir = {here}
mon_data = {here}/mon
mgr_data = {here}/mgr
osd_data = {here}/osd
crash_dir = {here}
osd_objectstore = bluestore
bluestore_block_size = {OSD_BYTES}
bluestore_block_db_create = false
osd_class_dir = /usr/lib/x86_64-linux-gnu/rados-classes
osd_memory_target = 939524096
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_data_avail_crit = 0
mon_data_avail_warn = 0
mgr_initial_modules =
rgw_rados_pool_pg_num_min = 1
[client.rgw]
rgw_frontends = beast ssl_endpoint=127.0.0.1:{self._s3_port} ssl_certificate={here}/gateway.pem
rgw_data = {here}
""")

    def _make_keys(self) -> Path:
        """One keyring for all, which the monitor takes over into its own store when it is made."""
        keyring = self._directory / "keyring"
        everything = {"mon": "allow *", "osd": "allow *", "mgr": "allow *"}
        for name, caps in {
            "mon.": {"mon": "allow *"},
            "client.admin": everything,
            "mgr.x": everything,
            "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
            "client.rgw": {"mon": "allow rw", "osd": "allow rwx", "mgr": "allow rw"},
        }.items():
            create = [] if keyring.exists() else ["--create-keyring"]
            grants = [word for service, what in caps.items() for word in ("--cap", service, what)]
            self._run("ceph-authtool", *create, str(keyring), "--gen-key", "-n", name, *grants)
        return keyring

    def _wait_for_gateway(self, deadline: float) -> None:
        context = ssl.create_default_context(cafile=str(self._directory / "ca.pem"))
        while True:
            for process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(
                        f"{process.args!r} ended with {process.returncode}:\n{self._last_words()}"
                    )
            try:
                with (
                    socket.create_connection(("127.0.0.1", self._s3_port), timeout=2) as plain,
                    context.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
                ):
                    wire.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                    if b" 200 " in wire.recv(64):
                        return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"RGW did not answer in {START_SECONDS} s ({error}):\n{self._last_words()}"
                    ) from None
            time.sleep(0.2)

    def _last_words(self) -> str:
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-600:]}"
            for path in self._directory.glob("*.log")
        )

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self._directory / f"{program}.out").open("wb") as output:
            command = guarded(self._command([program, "--conf", str(self._conf), *arguments, "--foreground"]))
            self._running.append(subprocess.Popen(command, stdout=output, stderr=output))

    def _ceph(self, *arguments: str) -> str:
        return self._run("ceph", "--connect-timeout", "30", *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        command = self._command([program, *arguments, "--conf", str(self._conf)])
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-1000:]}")
        return done.stdout


def write_certificates(directory: Path) -> None:
    """`ca.pem`, and `gateway.pem` with certificate and key for 127.0.0.1 and `STORE_NAME`."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
    now = datetime.datetime.now(datetime.UTC)

    def build(name: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=6))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(STORE_NAME)]
                ),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )

    gateway = build(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), key.public_key(), ca=False
    )
    (directory / "ca.pem").write_bytes(
        build(ca_name, ca_key.public_key(), ca=True).public_bytes(Encoding.PEM)
    )
    (directory / "gateway.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + gateway.public_bytes(Encoding.PEM)
    )
