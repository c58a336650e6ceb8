"""The modality's side: associations with the branch, and files sent byte for byte as they lie on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from pydicom.uid import UID
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association

from cli.verify.corpus import Specimen
from cli.verify.target import DicomNode
from services.common.requestor import associate

# Otherwise pynetdicom parses each file and encodes it again, and what is sent is no longer
# the bytes that the digest was taken of.
_config.STORE_SEND_CHUNKED_DATASET = True

_TIMEOUT_SECONDS = 30
_VERIFICATION = UID("1.2.840.10008.1.1")


class ModalityError(Exception):
    """The branch did not take part in the conversation; the text says what, why and what to do."""


class Modality:
    """A calling application entity. One association at a time; pynetdicom gives each its own thread."""

    def __init__(self, branch: DicomNode, ae_title: str) -> None:
        self.branch = branch
        self._ae = AE(ae_title=ae_title)
        self._ae.acse_timeout = self._ae.dimse_timeout = self._ae.network_timeout = _TIMEOUT_SECONDS
        self._ae.maximum_pdu_size = 128 * 1024

    @contextmanager
    def associate(self, kinds: Iterable[tuple[str, str]]) -> Iterator[Association]:
        """An association for these (SOP class, transfer syntax) pairs, and Verification.

        Each pair has a presentation context of its own, so that the acceptor cannot choose another
        transfer syntax than the file's (PS3.8 9.3.2.2). Released at the end; ModalityError if refused.
        """
        contexts = [build_context(_VERIFICATION)]
        contexts += [build_context(sop_class, syntax) for sop_class, syntax in sorted(set(kinds))]
        where = f"{self.branch.ae_title} at {self.branch.host}:{self.branch.port}"
        association = associate(
            self._ae, self.branch.host, self.branch.port, contexts=contexts, ae_title=self.branch.ae_title
        )
        if not association.is_established:
            if association.is_rejected:
                why = "it rejected the association: is the calling AE title in the branch's list?"
            else:
                why = "it does not answer: is the branch running? ./pacs status shows it"
            raise ModalityError(f"no association with {where}; {why}")
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def echo(self) -> tuple[int | None, float]:
        """C-ECHO: the status (None: no answer) and seconds."""
        started = monotonic()
        with self.associate(()) as association:
            answer = association.send_c_echo()
        return answer.get("Status"), monotonic() - started


def store(association: Association, specimen: Specimen) -> tuple[int | None, float]:
    """C-STORE one file: the status (0 is success, None no answer) and the moment it came (monotonic seconds).

    Raises ModalityError where the branch accepted no presentation context for the file's kind.
    """
    try:
        answer = association.send_c_store(specimen.path)
    except (ValueError, RuntimeError) as error:
        raise ModalityError(f"{specimen.key} ({specimen.syntax_name}) could not be sent: {error}") from error
    return answer.get("Status"), monotonic()
