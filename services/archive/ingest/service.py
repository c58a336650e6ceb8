"""What the centre decides on a pack that a branch sends: is it one, is it theirs, then commit and sign."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from services.archive.commit import ArchiveSink
from services.archive.errors import ForeignPack, PackRefused
from services.archive.incoming import Incoming, IncomingFile
from services.archive.metrics import ArchiveMetrics
from services.archive.ports import Index
from services.common.errors import LengthRequired, TooLarge, TooManyRequests, Unavailable
from services.packs.pack import Footer, PackError, footer_of, verify

MAX_PACK_BYTES = 4 << 30
BODIES_OF_A_SITE = 8
"""Bodies of one site on their way at once: twice what an edge sends by itself. A thin line takes no other's place."""
COMMITS = 16
"""Packs that are verified and committed at once; a body that has arrived waits for its turn."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Branch:
    """Who sends, as its certificate says."""

    institution: str
    site: str


class IngestService:
    """Takes packs of one region; a site may have `bodies` on their way at the same time."""

    def __init__(
        self,
        sink: ArchiveSink,
        index: Index,
        incoming: Incoming,
        metrics: ArchiveMetrics,
        *,
        region: str,
        epoch: int,
        bodies: int = BODIES_OF_A_SITE,
        commits: int = COMMITS,
    ) -> None:
        self._sink, self._index, self._incoming, self._metrics = sink, index, incoming, metrics
        self._region, self._epoch = region, epoch
        self._bodies, self._under_way = bodies, Counter[Branch]()
        self._commits = asyncio.Semaphore(commits)

    def receipts(self, branch: Branch, pack_id: str) -> list[str]:
        """The receipts of this epoch for a pack of the branch's institution; empty: send the pack."""
        return self._index.receipts(branch.institution, pack_id, self._epoch)

    async def take(
        self, branch: Branch, pack_id: str, length: int | None, body: AsyncIterator[bytes]
    ) -> list[str]:
        """Receive, verify and commit a pack; its receipts.

        Raises `LengthRequired`, `TooLarge`, `TooManyRequests`, `NoRoom`, `PackRefused`, `ForeignPack`,
        `IndexUnavailable` or `StoreAway`. After any of them nothing counts as taken.
        """
        if length is None:
            raise LengthRequired("The request has no Content-Length.", action="State the pack's size.")
        if length > MAX_PACK_BYTES:
            raise TooLarge(
                f"The pack has {length} bytes; at most {MAX_PACK_BYTES} are taken.",
                action="Seal smaller packs; one instance may be larger than the centre takes.",
            )
        with self._place(branch), self._incoming.file(length) as file:
            await file.receive(body, length)
            async with self._commits:
                return await run_in_threadpool(self._commit, branch, pack_id, length, file)

    @contextmanager
    def _place(self, branch: Branch) -> Iterator[None]:
        """One of the site's places for a body. Called on the event loop alone. Raises `TooManyRequests`."""
        if self._under_way[branch] >= self._bodies:
            raise TooManyRequests(
                f"{self._bodies} packs of this site are under way already.", action="Send it again."
            )
        self._under_way[branch] += 1
        try:
            yield
        finally:
            self._under_way[branch] -= 1
            if not self._under_way[branch]:
                del self._under_way[branch]

    def _commit(self, branch: Branch, pack_id: str, length: int, file: IncomingFile) -> list[str]:
        footer = self._judge(branch, pack_id, length, file)
        try:
            receipts = self._sink.store_pack(file.path, footer, file.sha256)
        except PackError as error:
            raise _refused(error) from error
        self._metrics.received_instances.labels("ingest").inc(len(footer.instances))
        self._metrics.received_bytes.labels("ingest").inc(length)
        return receipts

    def _judge(self, branch: Branch, pack_id: str, length: int, file: IncomingFile) -> Footer:
        """The footer, once every byte of the pack is what it says and the branch may send it."""
        if file.length != length:
            # It speaks of the line, not of the pack: a branch must not set the pack aside for it.
            raise Unavailable(
                f"{length} bytes were announced, {file.length} came.", action="Send the pack again."
            )
        try:
            footer = footer_of(file.path)
            self._check_claims(branch, pack_id, footer)
            verify(file.path)
        except PackError as error:
            raise _refused(error) from error
        return footer

    def _check_claims(self, branch: Branch, pack_id: str, footer: Footer) -> None:
        if footer.pack_id != pack_id:
            raise PackError(f"the pack's id is {footer.pack_id}")
        if footer.region != self._region:
            raise PackError(f"the pack is of region {footer.region}, this is {self._region}")
        if (footer.institution, footer.site) != (branch.institution, branch.site):
            raise ForeignPack(
                f"The certificate is of {branch.institution}/{branch.site}, "
                f"the pack of {footer.institution}/{footer.site}.",
                action="A branch sends its own packs only; check its certificate and its configuration.",
            )


def _refused(error: PackError) -> PackRefused:
    detail = str(error)
    return PackRefused(
        f"{detail[:1].upper()}{detail[1:]}.",
        action="The sender keeps the pack and sets it aside for support.",
    )
