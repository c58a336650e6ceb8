"""C-STORE as SCU: a stored instance to whoever has accepted its class, as stored where the peer takes that.

The data set goes from the object store onto the connection in pieces; nothing decodes it on the way unless the peer
accepted no context with its transfer syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import UID

from services.archive.dimse.ahead import Ahead, ReadAhead
from services.archive.dimse.transcoder import TranscodeError, Transcoder
from services.archive.dimse.wire import DATA_SET, Wire, encode_command
from services.archive.errors import translate_store
from services.archive.index.records import StoredInstance
from services.archive.ports import ObjectStore
from services.common.errors import PacsError

Contexts = Mapping[str, Sequence[tuple[int, str]]]
"""Accepted presentation contexts by SOP class: their IDs and transfer syntaxes."""

_C_STORE_RQ, _MEDIUM = 0x0001, 0x0000
_SUCCESS = 0x0000


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one instance: the peer's status, or why it was not sent."""

    status: int | None
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        return self.status == _SUCCESS

    @property
    def is_warning(self) -> bool:
        """Stored, with a remark (PS3.4 B.2.3: 0xB000, 0xB006, 0xB007)."""
        return self.status is not None and self.status >> 12 == 0xB


@dataclass(frozen=True, slots=True)
class Originator:
    """Who asked for a C-MOVE, as the destination is told."""

    ae_title: str
    message_id: int


class Source:
    """Where stored bytes come from, and who writes them otherwise where a peer does not take them as stored."""

    def __init__(self, store: ObjectStore, transcoder: Transcoder) -> None:
        self.store, self.transcoder, self.ahead = store, transcoder, Ahead(store)


class StoreUser:
    """Sends instances over one association, one after the other.

    `answer_to` waits for the response to a message of this ID and returns its status. Raises `OSError` once the peer is gone.
    """

    def __init__(
        self,
        wire: Wire,
        answer_to: Callable[[int], int],
        contexts: Contexts,
        source: Source,
        originator: Originator | None = None,
    ) -> None:
        self._wire, self._answer_to, self._contexts = wire, answer_to, contexts
        self._source, self._originator = source, originator
        self._message_id = 0
        self._reading = ReadAhead(source.ahead, ())

    def expect(self, instances: Sequence[StoredInstance]) -> None:
        """The next instances to be sent, in this order."""
        self._reading.close()
        self._reading = ReadAhead(self._source.ahead, instances)

    def close(self) -> None:
        """Nothing more is sent."""
        self._reading.close()

    def send(self, stored: StoredInstance) -> Sent:
        """Send one instance and wait for the answer."""
        accepted = self._contexts.get(stored.sop_class_uid, ())
        if not accepted:
            return Sent(None, f"no context for {UID(stored.sop_class_uid).name}")
        try:
            for context_id, transfer_syntax in accepted:
                if transfer_syntax == stored.transfer_syntax:
                    return self._as_stored(context_id, stored)
            return self._transcoded(accepted, stored)
        except TranscodeError as error:
            return Sent(None, str(error))
        except PacsError as error:
            return Sent(None, error.detail)

    def _as_stored(self, context_id: int, stored: StoredInstance) -> Sent:
        length = stored.length - stored.data_offset
        pieces = self._read(stored, stored.data_offset, length)
        # Nothing is on the connection before the first piece is there: a store that is away fails this instance alone.
        first = next(pieces, b"")
        return self._put(context_id, stored, _rest(first, pieces), length)

    def _transcoded(self, accepted: Sequence[tuple[int, str]], stored: StoredInstance) -> Sent:
        by_syntax = {transfer_syntax: context_id for context_id, transfer_syntax in reversed(accepted)}
        for target in self._source.transcoder.targets(stored):
            if target in by_syntax:
                content = self._source.transcoder.transcode(
                    stored, lambda: b"".join(self._read(stored, 0, stored.length)), target
                )
                return self._put(by_syntax[target], stored, iter([content]), len(content))
        return Sent(None, f"no context with {UID(stored.transfer_syntax).name}")

    def _put(
        self, context_id: int, stored: StoredInstance, pieces: Iterator[bytes | memoryview], length: int
    ) -> Sent:
        self._message_id = self._message_id % 0xFFFF + 1
        command: dict[int, int | str] = {
            0x0002: stored.sop_class_uid, 0x0100: _C_STORE_RQ, 0x0110: self._message_id, 0x0700: _MEDIUM,
            0x0800: DATA_SET, 0x1000: stored.sop_instance_uid,
        }  # fmt: skip
        if self._originator is not None:
            command |= {0x1030: self._originator.ae_title, 0x1031: self._originator.message_id}
        try:
            self._wire.put(context_id, encode_command(command), pieces, length)
            self._wire.flush()
        except (ValueError, PacsError) as error:
            # Half a message is on the connection, and nothing can be sent behind it.
            raise OSError("a stored instance ended in the middle of its transfer") from error
        status = self._answer_to(self._message_id)
        good = status == _SUCCESS or status >> 12 == 0xB
        return Sent(status, "" if good else f"the receiver answered 0x{status:04X}")

    def _read(self, stored: StoredInstance, offset: int, length: int) -> Iterator[bytes | memoryview]:
        content = self._reading.bytes_of(stored)
        if content is not None:
            yield content[offset : offset + length]
            return
        with translate_store():
            yield from self._source.store.stream(stored.object_key, stored.offset + offset, length)


def _rest(first: bytes | memoryview, pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield first
    yield from pieces
