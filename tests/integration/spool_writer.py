"""The process that loses power: receives instances and writes each acknowledged UID to its standard output.

`python -m tests.integration.spool_writer <directory> <durable|control> <log|archive>`
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian

from services.archive.adapters.filesystem_store import FilesystemStore
from services.packs.arrival import HELD_BYTES, Arrival
from services.packs.instance import Limits, scan
from services.packs.pack import Footer, sha256_of
from services.packs.sealing import Sealer, SealingRules
from services.packs.segment import RecordHeader, SegmentLog
from tests.services.packs.synthetic import ct

STUDIES = 3
SENDERS = 4


class StoreSink:
    """What a branch does with a sealed pack before its index comes into play: the object into the store."""

    def __init__(self, store: FilesystemStore) -> None:
        self._store = store

    def store(self, path: Path, footer: Footer) -> None:
        self._store.put(footer.key, path, path.stat().st_size, sha256_of(path))

    def commit(self, path: Path, footer: Footer) -> None:
        pass


def send_forever(log: SegmentLog, sender: int) -> None:
    """Append instances and report each one only after its future resolved.

    For every other sender they are too long to be held, and are written while they arrive.
    """
    scratch = bytearray(HELD_BYTES if sender % 2 else 4096)
    for number in itertools.count(1):
        study = f"1.2.{number % STUDIES + 1}"
        uid = f"{study}.{sender + 1}.{number}"
        body = ct(uid, study=study, pixels=os.urandom(20_000))
        start = scan(body).data_offset
        arrival = Arrival(log, body[:start], ExplicitVRLittleEndian, scratch, Limits())
        for at in range(start, len(body), 3000):
            arrival.write(memoryview(body)[at : at + 3000])
        header = RecordHeader.for_instance(
            arrival.describe(), institution="yanan", site="yanchang", calling_ae="CT1", called_ae="PACS",
            received_at=datetime.now(UTC), association=f"a{sender}",
        )  # fmt: skip
        arrival.keep(header).result()
        os.write(1, f"{uid}\n".encode())


def main(directory: Path, durability: str, extent: str) -> None:
    log = SegmentLog(
        directory / "segments" / "0", segment_bytes=1 << 20, headroom_bytes=0, durable=durability == "durable"
    )
    if extent == "archive":
        rules = SealingRules(idle_seconds=0.05, max_age_seconds=0.1, max_bytes=300_000)
        sealer = Sealer(
            log, directory / "sealing", StoreSink(FilesystemStore(directory / "packs")),
            region="local", quarantine=directory / "quarantine", rules=rules,
        )  # fmt: skip
        sealer.start()
    threads = [threading.Thread(target=send_forever, args=(log, sender)) for sender in range(SENDERS)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
