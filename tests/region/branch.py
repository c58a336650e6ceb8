"""The branch host during a power cut: its line, its disk, its database, and what it has still to send."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from infra.hosts import disks, internet, power
from infra.hosts.base import HostSpec
from infra.hosts.network import namespace
from infra.hosts.nspawn import NspawnHosts
from tests.region.conftest import host, on_host
from toolchain.paths import REPOSITORY

DATA = "/var/lib/pacs"
_DATABASE_SECONDS = 120.0
_READY_SECONDS = 180.0


class Branch:
    """One local branch host."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.spec: HostSpec = host(site)[0]

    @property
    def home(self) -> Path:
        """Where this machine keeps the host: `rootfs/` and `disks/`."""
        return self.spec.state_dir / "hosts" / self.site

    @contextmanager
    def line_cut(self) -> Iterator[None]:
        """Nothing reaches the centre meanwhile: what is acknowledged lies at the branch alone."""
        link = next(link for link in self.spec.links if link.network == "internet")
        address = link.address.partition("/")[0]
        internet.shape(self.spec.state_dir, address, internet.Line(cut=True))
        try:
            yield
        finally:
            internet.shape(self.spec.state_dir, address, internet.Line())

    def cut_power(self) -> None:
        """Every process ends and what the data disk had not written is gone; the host stays off."""
        NspawnHosts().cut_power(self.spec)

    def start(self) -> None:
        """The power comes back: returns when sshd answers, which is before the data path does."""
        NspawnHosts().ensure(self.spec)

    def wait_until_ready(self) -> None:
        """Wait until archive and edge say that what they depend on answers too; the API may tell of an earlier life."""
        ask = "from urllib.request import urlopen as ask; [ask(f'http://127.0.0.1:{port}/readyz') for port in (8080, 8081)]"
        deadline = time.monotonic() + _READY_SECONDS
        while "ready" not in on_host(self.site, f'python3 -c "{ask}" 2>/dev/null && echo ready || true'):
            assert time.monotonic() < deadline, f"the branch is not ready after {_READY_SECONDS:.0f} s"
            time.sleep(1)

    def has_sent_all(self) -> bool:
        """Whether neither the segment log nor the outbox holds anything that is still to go to the centre."""
        left = r"-type f \( -name '*.seg' -size +8c -o -name '*.pack*' \) -print -quit"
        return not on_host(self.site, f"find {DATA}/spool {DATA}/outbox {left}").strip()

    @contextmanager
    def disk_put_back(self) -> Iterator[None]:
        """Afterwards the data disk is as it was before; the host is off at the end."""
        image = self.home / "disks" / f"{self.spec.disks[0].name}.img"
        kept = image.with_suffix(".kept")
        (mount_point,) = power.mounts(self.site, disks.attached(self.home, self.spec.disks).values())
        _run("fsfreeze", "--freeze", str(mount_point))
        try:
            _run("cp", "--sparse=always", str(image), str(kept))
        finally:
            _run("fsfreeze", "--unfreeze", str(mount_point))
        try:
            yield
        finally:
            self.cut_power()
            disks.detach(self.home)
            kept.rename(image)

    def prepare_rows(self) -> None:
        """Make the table that rows are committed to, before anything is at stake."""
        self._client("create")

    @contextmanager
    def rows_committed(self) -> Iterator[Callable[[], set[int]]]:
        """A client that commits rows until the host dies under it; then the function gives their numbers."""
        with self._client_process("write") as writer:
            try:
                yield lambda: _numbers(writer)
            finally:
                writer.kill()

    def rows(self) -> set[int]:
        """The rows that the database has; none where it does not come back within two minutes."""
        deadline = time.monotonic() + _DATABASE_SECONDS
        while time.monotonic() < deadline:
            try:
                return {int(line) for line in self._client("read").split()}
            except subprocess.CalledProcessError:
                time.sleep(1)
        return set()

    def drop_rows(self) -> None:
        """Leave no table of the drill."""
        self._client("drop")

    def _client(self, verb: str) -> str:
        with self._client_process(verb) as client:
            output, _ = client.communicate(timeout=60)
        if client.returncode:
            raise subprocess.CalledProcessError(client.returncode, verb)
        return output

    def _client_process(self, verb: str) -> subprocess.Popen[str]:
        inside = ["ip", "netns", "exec", namespace(self.site)]
        client = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.region.row_writer", verb],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPOSITORY,
        )  # fmt: skip
        assert client.stdin is not None
        client.stdin.write(f"{self._database_url}\n")
        client.stdin.flush()
        return client

    @cached_property
    def _database_url(self) -> str:
        return on_host(self.site, f"cat {DATA}/config/database.url").strip()


def _numbers(writer: subprocess.Popen[str]) -> set[int]:
    """What the dead client had said; a line that its death cut short was not said."""
    output, _ = writer.communicate(timeout=30)
    return {int(line) for line in output.splitlines(keepends=True) if line.endswith("\n")}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
