"""C-MOVE SCP (PS3.4 C.4.2): instances go to a destination of the region's configuration, and to no other."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from services.archive.dimse.caller import Rights
from services.archive.dimse.destination import Destination, destination_of
from services.archive.dimse.find import RightsOf
from services.archive.dimse.outgoing import Originator, Sent, Source, StoreUser
from services.archive.dimse.peer import MOST_CONTEXTS, PeerAssociation, PeerError, Proposals
from services.archive.dimse.request import Request
from services.archive.dimse.retrieval import (
    DESTINATION_UNKNOWN,
    NOT_AUTHORISED,
    RetrieveObserver,
    perform,
    refuse,
    report,
    selected,
)
from services.archive.index.records import StoredInstance
from services.archive.ports import Index
from services.common.errors import PacsError

_UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


class Move:
    """Answers C-MOVE requests; safe to use from every association's thread."""

    def __init__(
        self,
        index: Index,
        source: Source,
        rights: RightsOf,
        *,
        destinations: Sequence[Destination],
        ae_title: str,
        tls: ssl.SSLContext | None = None,
        observer: RetrieveObserver | None = None,
    ) -> None:
        self._index, self._source, self._rights = index, source, rights
        self._destinations, self._ae_title, self._tls, self._observer = destinations, ae_title, tls, observer

    def answer(self, request: Request) -> None:
        """Send every instance to the destination, then the last response. Raises `OSError` once the requester is gone."""
        rights = self._rights(request)
        destination = destination_of(self._destinations, request.move_destination)
        if destination is None:
            request.respond(DESTINATION_UNKNOWN, comment="Add it under `destinations` in the stack file")
            report(request, "move", DESTINATION_UNKNOWN, None, self._observer)
            return
        if destination.ae_title not in rights.moves_to:
            request.respond(NOT_AUTHORISED, comment="Add it to the caller's `moves_to` in the stack file")
            report(request, "move", NOT_AUTHORISED, None, self._observer)
            return
        self._move(request, rights, destination)

    def _move(self, request: Request, rights: Rights, destination: Destination) -> None:
        try:
            selection = selected(self._index, request, rights)
        except PacsError as error:
            report(request, "move", refuse(request, error), None, self._observer)
            return
        receiver = _Elsewhere(self, destination, Originator(request.calling_ae, request.message_id))
        status, counters = perform(request, selection, receiver, requester_receives=False)
        report(request, "move", status, counters, self._observer)

    def open(self, destination: Destination, proposals: Proposals) -> PeerAssociation:
        """An association with the destination. Raises `PeerError`."""
        return PeerAssociation.open(destination, self._ae_title, proposals, self._tls)

    def user(self, peer: PeerAssociation, originator: Originator) -> StoreUser:
        """What sends over it."""
        return StoreUser(peer.wire, peer.answer_to, peer.contexts, self._source, originator)


class _Elsewhere:
    """A destination as receiver: associated anew where a study has classes that were not proposed before."""

    def __init__(self, move: Move, destination: Destination, originator: Originator) -> None:
        self._move, self._destination, self._originator = move, destination, originator
        self._proposed: frozenset[tuple[str, str]] = frozenset()
        self._peer: PeerAssociation | None = None
        self._user: StoreUser | None = None

    def expect(self, instances: list[StoredInstance]) -> None:
        needed = frozenset((one.sop_class_uid, one.transfer_syntax) for one in instances)
        if self._user is None or not needed <= self._proposed:
            self.close()
            self._peer = self._move.open(self._destination, _proposals(needed))
            self._user = self._move.user(self._peer, self._originator)
            self._proposed = needed
        self._user.expect(instances)

    def send(self, stored: StoredInstance) -> Sent:
        if self._user is None:
            raise PeerError("the destination is not connected")
        try:
            return self._user.send(stored)
        except OSError:
            self._user.close()
            if self._peer is not None:
                self._peer.abort()
            self._peer = self._user = None
            raise

    def close(self) -> None:
        if self._user is not None:
            self._user.close()
        if self._peer is not None:
            self._peer.release()
        self._peer = self._user = None
        self._proposed = frozenset()


def _proposals(needed: frozenset[tuple[str, str]]) -> Proposals:
    """A context for each class as it is stored, then one for each class uncompressed, as far as there is room."""
    as_stored = [(sop_class, (transfer_syntax,)) for sop_class, transfer_syntax in sorted(needed)]
    classes = sorted({sop_class for sop_class, _ in needed})
    return [*as_stored, *((sop_class, _UNCOMPRESSED) for sop_class in classes)][:MOST_CONTEXTS]
