"""A DIMSE service class beside Verification and Storage: what it negotiates, and who answers its requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Of what is not an image: identifiers, worklists, action information. The first is preferred."""


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """`abstract_syntaxes` are its SOP classes as UIDs; `handlers` are pynetdicom's, by intervention event."""

    abstract_syntaxes: Sequence[str]
    handlers: Mapping[evt.InterventionEvent, Callable[[evt.Event], Any]]
    transfer_syntaxes: Sequence[str] = TRANSFER_SYNTAXES
