"""The Query/Retrieve service class as the listener takes it: its SOP classes and who answers (PS3.4 annex C)."""

from __future__ import annotations

from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE

from services.archive.dimse.find import Find
from services.archive.dimse.get import Get
from services.archive.dimse.information_model import MODELS
from services.archive.dimse.move import Move
from services.archive.dimse.service_class import ServiceClass


def query_retrieve(find: Find, get: Get, move: Move) -> ServiceClass:
    """Both information models; relational queries and retrieval are granted to whoever asks for them."""
    return ServiceClass(
        [sop_class for model in MODELS for sop_class in (model.find, model.move, model.get)],
        handlers={evt.EVT_SOP_EXTENDED: _negotiate},
        requests={C_FIND: find.answer, C_GET: get.answer, C_MOVE: move.answer},
    )


def _negotiate(event: evt.Event) -> dict[str, bytes]:
    """Extended negotiation (PS3.4 C.5.1.1, C.5.2.1): relational as asked for, nothing else of it."""
    granted: dict[str, bytes] = {}
    for sop_class, information in event.assoc.requestor.sop_class_extended.items():
        if any(sop_class in (one.find, one.move, one.get) for one in MODELS):
            granted[sop_class] = bytes([information[:1] == b"\1"]) + bytes(max(len(information) - 1, 0))
    return granted
