"""The edge process against a real gateway: what is offered arrives, proven, whatever is killed in between."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from bench.network import free_port
from services.common.errors import NoRoom, Unavailable
from services.edge.ports import Commitment
from services.packs.pack import Footer, footer_of
from tests.integration.ingest_centre import IngestCentre
from tests.integration.postgres import PostgresServer, database, postgres
from tests.integration.region_door import DOMAIN, Door, resolve_locally
from tests.scale import SCALE
from tests.services.edge.adapters.test_receipt_judge import judge_of
from tests.services.edge.branch import HandClock, ReceiptOffice, offer, seal
from tests.waiting import wait_for

__all__ = ["database", "postgres"]

pytestmark = pytest.mark.integration
KILLS = 8 * SCALE


class Branch:
    """The files of one enrolled branch and the process that forwards them."""

    def __init__(self, door: Door, centre: IngestCentre, root: Path, ledger: Path | None = None) -> None:
        self.door, self.centre, self.root = door, centre, root
        self.port = free_port()
        self.log = root / "edge.log"
        self.sealed: dict[str, Footer] = {}
        self.environment = os.environ | {
            "PACS_REGION": "local",
            "PACS_INSTITUTION": "yanan",
            "PACS_SITE": root.name.removeprefix("yanan-"),
            "PACS_DOMAIN": DOMAIN,
            "PACS_DATA_DIRECTORY": str(root),
            "PACS_RECEIPT_CERTIFICATES": str(door.secrets / "receipts.crt"),
            "PACS_EDGE_PORT": str(self.port),
            "PACS_EDGE_CENTRE_PORT": str(door.port),
            "PACS_EDGE_PROBE_SECONDS": "1",
        }
        if ledger is not None:
            self.environment["PACS_LEDGER_URL_FILE"] = str(ledger)

    @property
    def site(self) -> str:
        return self.environment["PACS_SITE"]

    def offer(self, count: int = 1, *, size: int = 64, site: str | None = None) -> list[str]:
        """Seal packs and link them into the outbox, as the archive does."""
        packs = [seal(self.root, size=size, site=site or self.site) for _ in range(count)]
        for pack in packs:
            self.sealed[pack.stem] = footer_of(pack)
            offer(self.root, pack)
        return [pack.stem for pack in packs]

    @contextmanager
    def edge(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-W", "ignore", "-m", "tests.integration.edge_process"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: process.poll() is not None or self.ready(), 90, "the edge answers")
            if process.poll() is not None:
                pytest.fail(self.log.read_text()[-2000:])
            yield process
        finally:
            process.kill()
            process.wait(10)

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def status(self) -> dict[str, Any]:
        return dict(httpx.get(f"http://127.0.0.1:{self.port}/status", trust_env=False).json())

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text

    def links(self) -> set[str]:
        return {path.stem for path in (self.root / "outbox").glob("*.pack")}

    def receipts(self) -> set[str]:
        return {path.stem for path in (self.root / "receipts").glob("??/*.jws")}

    def proven(self, pack_id: str) -> Commitment:
        """The commitment that the stored receipts prove; raises when they do not."""
        lines = (self.root / "receipts" / pack_id[:2] / f"{pack_id}.jws").read_text().splitlines()
        return judge_of(self.centre.office, HandClock()).verify(self.sealed[pack_id], lines)

    def wait_until_all_arrived(self, seconds: float = 60) -> None:
        wait_for(lambda: not self.links(), seconds, "the outbox is empty")
        assert set(self.centre.packs) >= set(self.sealed)
        for pack_id, footer in self.sealed.items():
            assert list(self.centre.packs[pack_id].identities()) == list(footer.identities())
            self.proven(pack_id)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    door = Door(tmp_path_factory.mktemp("door"), archive_port=free_port(), prometheus_port=1)
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        door.ingest_port = free_port()
        with door.step_ca(), door.gateway():
            yield door


@pytest.fixture
def centre(door: Door) -> Iterator[IngestCentre]:
    centre = IngestCentre(ReceiptOffice(door.secrets), door.server())
    centre.port = door.ingest_port
    with centre:
        yield centre


@pytest.fixture
def make_branch(door: Door, centre: IngestCentre) -> Callable[..., Branch]:
    def make(name: str, ledger: Path | None = None) -> Branch:
        files = door.enrol("yanan", name)
        return Branch(door, centre, files.directory.parent, ledger)

    return make


def test_a_pack_leaves_within_half_a_second_of_appearing(make_branch: Callable[..., Branch]) -> None:
    branch = make_branch("quick")
    with branch.edge():
        wait_for(lambda: branch.status()["centre_reachable"], 10, "the line is open")
        [pack] = branch.offer()
        appeared = time.monotonic()
        wait_for(lambda: pack in branch.centre.puts, 5, "the pack left")
        assert time.monotonic() - appeared < 0.5
        branch.wait_until_all_arrived()
        status = branch.status()
    assert status["queue_packs"] == 0
    assert status["certificate_expires"] is not None
    assert branch.sealed.keys() == branch.receipts()


@pytest.mark.timeout(120 + 15 * KILLS)
def test_killed_at_random_moments_nothing_is_lost_and_nothing_is_believed_too_early(
    make_branch: Callable[..., Branch], centre: IngestCentre
) -> None:
    chance = random.Random(20250301)
    branch = make_branch("killed")
    centre.pause = 0.02
    # One answer in four is lost after the commit, one in eight is "come back later".
    rolls = {0: "drop", 1: "drop", 2: Unavailable("busy")}
    centre.trouble = lambda _: rolls.get(chance.randrange(8))  # type: ignore[return-value]
    for _ in range(KILLS):
        branch.offer(6, size=chance.choice([64, 200_000, 2_000_000]))
        with branch.edge() as process:
            time.sleep(chance.uniform(0, 0.4))  # the moment of the kill is what is random
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        # At every moment each pack waits or is proven; often both, never neither.
        for pack_id in branch.sealed.keys() - branch.links():
            branch.proven(pack_id)
            assert pack_id in centre.packs
    centre.trouble = lambda _: None
    with branch.edge():
        branch.wait_until_all_arrived()
    assert len(branch.sealed) == 6 * KILLS


def test_a_line_that_is_cut_is_noticed_and_everything_goes_when_it_is_back(
    tmp_path: Path, door: Door
) -> None:
    own = Door(tmp_path, archive_port=free_port(), prometheus_port=1)
    own.ingest_port = free_port()
    centre = IngestCentre(ReceiptOffice(own.secrets), own.server())
    centre.port = own.ingest_port
    with own.step_ca(), centre:
        with own.gateway():
            branch = Branch(own, centre, own.enrol("yanan", "cut").directory.parent)
        with branch.edge():
            branch.offer(3)
            wait_for(lambda: branch.status()["centre_reason"] == "network", 20, "the cut is noticed")
            assert branch.status()["queue_packs"] == 3
            assert not branch.status()["centre_reachable"]
            with own.gateway():
                branch.wait_until_all_arrived()
                assert branch.status()["centre_reachable"]


@pytest.mark.parametrize("error", [Unavailable("busy"), NoRoom("full")])
def test_a_busy_or_full_centre_is_asked_again_after_the_time_it_names(
    make_branch: Callable[..., Branch], centre: IngestCentre, error: Any
) -> None:
    branch = make_branch(f"busy-{error.status}")
    error.retry_after = 1
    times: list[float] = []

    def busy(_: str) -> Any:
        times.append(time.monotonic())
        return error if len(times) == 1 else None

    centre.trouble = busy
    with branch.edge():
        branch.offer()
        branch.wait_until_all_arrived()
    assert times[1] - times[0] >= 1


def test_a_pack_of_another_site_is_refused_and_kept_in_quarantine(make_branch: Callable[..., Branch]) -> None:
    branch = make_branch("foreign")
    with branch.edge():
        [foreign] = branch.offer(site="somewhere-else")
        wait_for(lambda: branch.status()["quarantine_packs"] == 1, 20, "it is set aside")
        branch.sealed.pop(foreign)
        branch.offer(2)
        branch.wait_until_all_arrived()
        assert 'pacs_edge_refused_packs_total{reason="http_403"} 1.0' in branch.metrics()
    reason = json.loads((branch.root / "quarantine" / f"{foreign}.json").read_text())
    assert reason["problem"]["status"] == 403
    assert footer_of(branch.root / "quarantine" / f"{foreign}.pack").pack_id == foreign


def test_forged_receipts_delete_nothing(make_branch: Callable[..., Branch], centre: IngestCentre) -> None:
    branch = make_branch("forged")
    centre.office.alter = lambda receipt: replace(receipt, digest="0" * 64)
    with branch.edge():
        [pack] = branch.offer()
        wait_for(
            lambda: "pacs_edge_receipts_rejected_total{" in branch.metrics(), 20, "the forgery is counted"
        )
        assert branch.links() == {pack}
        assert branch.receipts() == set()
        centre.office.alter = lambda receipt: receipt
        branch.wait_until_all_arrived()


def test_a_site_without_a_valid_certificate_keeps_its_packs_and_renews(tmp_path: Path, door: Door) -> None:
    """Cut off until its certificate has expired: refused, renewed, and nothing goes to quarantine."""
    own = Door(tmp_path, archive_port=free_port(), prometheus_port=1, site_lifetime=timedelta(seconds=3))
    own.ingest_port = free_port()
    centre = IngestCentre(ReceiptOffice(own.secrets), own.server())
    centre.port = own.ingest_port
    with own.step_ca(), own.gateway(), centre:
        files = own.enrol("yanan", "away")
        identity = files.load()
        assert identity is not None
        branch = Branch(own, centre, files.directory.parent)
        branch.offer(2)
        wait_for(lambda: datetime.now(UTC) > identity.not_after, 10, "the certificate has expired")
        with branch.edge():
            branch.wait_until_all_arrived()
            assert branch.status()["quarantine_packs"] == 0
        renewed = files.load()
    assert renewed is not None
    assert renewed.not_after > identity.not_after


def test_the_ledger_follows_and_its_absence_stops_nothing(
    make_branch: Callable[..., Branch], postgres: PostgresServer, tmp_path: Path
) -> None:
    url_file = tmp_path / "url"
    dsn = postgres.new_database()
    url_file.write_text(dsn)
    branch = make_branch("ledger", url_file)

    def rows() -> tuple[int, int, int]:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM edge.pack WHERE committed_at IS NOT NULL AND epoch = 1),"
                " (SELECT count(*) FROM edge.instance WHERE committed_at >= received_at),"
                " (SELECT count(*) FROM edge.instance WHERE forwarded_at IS NULL)"
            ).fetchone()
        assert found is not None
        return (found[0], found[1], found[2])

    with branch.edge():
        branch.offer(3)
        branch.wait_until_all_arrived()
        wait_for(lambda: rows() == (3, 6, 0), 10, "the ledger has every row")
        postgres.stop()
        try:
            branch.offer(2)
            branch.wait_until_all_arrived()
        finally:
            postgres.start()
        wait_for(lambda: rows() == (5, 10, 0), 30, "the ledger is rebuilt from the files")


def test_an_unenrolled_host_says_so_and_ends(tmp_path: Path) -> None:
    environment = os.environ | {
        "PACS_REGION": "local",
        "PACS_INSTITUTION": "yanan",
        "PACS_SITE": "new",
        "PACS_DOMAIN": DOMAIN,
        "PACS_DATA_DIRECTORY": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.edge"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "services.edge.enrol" in done.stderr


def test_the_enrol_command_makes_a_site_once(tmp_path: Path, door: Door) -> None:
    token = tmp_path / "token"
    token.write_text(door.token("yanan", "commanded"))
    command = [
        *(
            sys.executable,
            "-m",
            "tests.integration.enrol_process",
            "--ca-url",
            door.ca_url,
            "--domain",
            DOMAIN,
        ),
        *("--institution", "yanan", "--site", "commanded", "--identity", str(tmp_path / "identity")),
        *("--root", str(door.root), "--token-file", str(token)),
    ]
    for words in ("enrolled as", "already enrolled as"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout[: len(words)]) == (0, words), done.stderr
    assert (tmp_path / "identity" / "site.key").stat().st_mode & 0o777 == 0o600
