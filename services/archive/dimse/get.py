"""C-GET SCP (PS3.4 C.4.3): instances come over the association that asked for them."""

from __future__ import annotations

from pynetdicom.dimse_primitives import C_STORE

from services.archive.dimse.find import RightsOf
from services.archive.dimse.outgoing import Contexts, Sent, Source, StoreUser
from services.archive.dimse.request import Request
from services.archive.dimse.retrieval import RetrieveObserver, perform, refuse, report, selected
from services.archive.index.records import StoredInstance
from services.archive.ports import Index
from services.common.errors import PacsError


class Get:
    """Answers C-GET requests; safe to use from every association's thread."""

    def __init__(
        self,
        index: Index,
        source: Source,
        rights: RightsOf,
        observer: RetrieveObserver | None = None,
    ) -> None:
        self._index, self._source = index, source
        self._rights, self._observer = rights, observer

    def answer(self, request: Request) -> None:
        """Send every instance asked for, then the last response. Raises `OSError` once the peer is gone."""
        try:
            selection = selected(self._index, request, self._rights(request))
        except PacsError as error:
            report(request, "get", refuse(request, error), None, self._observer)
            return
        user = StoreUser(request.wire, _Answers(request).answer_to, contexts_of(request), self._source)
        status, counters = perform(request, selection, _OverItself(user), requester_receives=True)
        report(request, "get", status, counters, self._observer)


class _OverItself:
    """The requester as receiver: it negotiated beforehand what it takes."""

    def __init__(self, user: StoreUser) -> None:
        self._user = user

    def expect(self, instances: list[StoredInstance]) -> None:
        self._user.expect(instances)

    def send(self, stored: StoredInstance) -> Sent:
        return self._user.send(stored)

    def close(self) -> None:
        self._user.close()


class _Answers:
    """C-STORE responses that come in between on the association of a C-GET."""

    def __init__(self, request: Request) -> None:
        self._dimse = request.association.dimse

    def answer_to(self, message_id: int) -> int:
        """The status of the response to this message. Raises `OSError` where none comes."""
        while True:
            _, message = self._dimse.get_msg(block=True)
            if message is None:
                raise OSError("no response to a C-STORE came")
            if isinstance(message, C_STORE) and message.MessageIDBeingRespondedTo == message_id:
                return int(message.Status or 0)


def contexts_of(request: Request) -> Contexts:
    """Contexts in which the requester takes C-STOREs: it must have offered the SCP role (PS3.7 D.3.3.4)."""
    roles = request.association.requestor.role_selection
    found: dict[str, list[tuple[int, str]]] = {}
    for context in request.association.accepted_contexts:
        role = roles.get(context.abstract_syntax) if context.abstract_syntax is not None else None
        if role is not None and role.scp_role:
            place = (int(context.context_id or 0), str(context.transfer_syntax[0]))
            found.setdefault(str(context.abstract_syntax), []).append(place)
    return found
