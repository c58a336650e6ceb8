"""The Query/Retrieve service class as the listener takes it: its SOP classes and who answers (PS3.4 annex C)."""

from __future__ import annotations

from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND

from services.archive.dimse.find import Find
from services.archive.dimse.information_model import MODELS
from services.archive.dimse.service_class import ServiceClass


def query_retrieve(find: Find) -> ServiceClass:
    """C-FIND of both information models; relational queries are granted to whoever asks for them."""
    return ServiceClass(
        [model.find for model in MODELS],
        handlers={evt.EVT_SOP_EXTENDED: _negotiate},
        requests={C_FIND: find.answer},
    )


def _negotiate(event: evt.Event) -> dict[str, bytes]:
    """Extended negotiation (PS3.4 C.5.1.1, C.5.2.1): relational as asked for, nothing else of it."""
    granted: dict[str, bytes] = {}
    for sop_class, information in event.assoc.requestor.sop_class_extended.items():
        if any(sop_class in (one.find, one.move, one.get) for one in MODELS):
            granted[sop_class] = bytes([information[:1] == b"\1"]) + bytes(max(len(information) - 1, 0))
    return granted
