"""The upper layer of an association: pynetdicom negotiates, we receive (ADR-0013).

The released library reads 4 KiB a call, copies every byte five times, holds whole messages in memory and wakes up
1000 times a second on each of two threads to see whether there is anything to do. Here a thread sleeps until its
socket or its association has something; a C-STORE's data set goes straight to the segment log; every other message
is handed to the library as it came.
"""

from __future__ import annotations

import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from services.archive.dimse.command import (
    StoreCommand,
    has_data_set,
    read_store_request,
    write_store_response,
)
from services.archive.dimse.fragments import P_DATA_TF, Cutter, Fragment, ProtocolError
from services.archive.dimse.limits import ConnectionLimits
from services.archive.dimse.room import Room
from services.archive.dimse.storage import Reception, StoreAnswer
from services.packs.arrival import HELD_BYTES

logger = logging.getLogger(__name__)

_REST_SECONDS = 0.25  # how late a timer may be noticed
_READ_BYTES = 256 << 10
_COMMAND_BYTES = 64 << 10
_RESPONSE_BYTES = 16 << 10
_LAST_COMMAND = 0x03
_DATA_TRANSFER = ("Sta6", "Sta7")  # PS3.8 9.2.2: in the second one our release is under way


class StoreDoor(Protocol):
    """Who takes the C-STOREs of an association."""

    def begin(
        self, association: Association, context_id: int, command: StoreCommand, scratch: bytearray
    ) -> Reception | None:
        """The reception of a request; None where pynetdicom shall judge it (a context that was not accepted)."""

    def complete(self, association: Association, reception: Reception) -> StoreAnswer:
        """The answer to a request that is whole."""


class Checkpoint(threading.Event):
    """Where the reactor of an association waits: until it `has_work`, not for a millisecond.

    It takes the place of the library's `_reactor_checkpoint`, which the reactor passes once in each turn.
    """

    def __init__(self, has_work: Callable[[], bool]) -> None:
        self._bell = threading.Event()
        self._has_work = has_work
        super().__init__()
        self.set()

    def ring(self) -> None:
        """There may be work."""
        self._bell.set()

    def set(self) -> None:
        """Let the reactor pass; it is also how the library ends one."""
        super().set()
        self._bell.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Return when there may be work and the reactor may pass."""
        self._bell.clear()  # what comes from here on rings again
        if not self._has_work():
            self._bell.wait(_REST_SECONDS)
        return super().wait(timeout)


class ReceivingProvider(DULServiceProvider):
    """The library's upper layer with our way of waiting, and of reading once data is transferred."""

    def __init__(
        self, association: Association, limits: ConnectionLimits, room: Room, stores: StoreDoor
    ) -> None:
        super().__init__(association)
        self._run_loop_delay = 0.0  # it is in `_is_transport_event` that this one waits
        self._limits, self._room, self._stores = limits, room, stores
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wakeup_lock = threading.Lock()
        self._news = True
        self._cutter = Cutter(self, limits.largest_pdu)
        self._read = memoryview(bytearray(_READ_BYTES))
        self._unread = 0
        self._scratch: bytearray | None = None
        self._command = bytearray()
        self._message: Reception | _Other | None = None
        self._request: StoreCommand | None = None
        self._message_bytes = 0
        self._last_bytes_at = time.monotonic()

    # What other threads call.

    def send_pdu(self, primitive: Any) -> None:
        """See the library: a primitive for this thread to send."""
        super().send_pdu(primitive)
        self._wake()

    def kill_dul(self) -> None:
        """See the library: end this thread."""
        super().kill_dul()
        self._wake()

    def stop_dul(self) -> bool:
        """See the library: end this thread if it is idle, and wait for its end."""
        if self.state_machine.current_state != "Sta1":
            self._wake()
            return False
        self.kill_dul()
        if threading.current_thread() is not self:
            self.join()
        return True

    def has_work(self) -> bool:
        """Whether the association's reactor has something to do."""
        return not (self.is_alive() and self.assoc.dimse.msg_queue.empty() and self.to_user_queue.empty())

    # What the library calls on this thread.

    def run_reactor(self) -> None:
        """See the library; whatever was under way is over when it ends."""
        try:
            super().run_reactor()
        finally:
            self._forget_message()
            self._room.give(self)
            with self._wakeup_lock:
                os.close(self._wakeup)
                self._wakeup = -1
            self._ring()

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state == "Sta13":
            return super()._is_transport_event()
        if self._news:
            self._news = False
            self._ring()
        if not self._wait():
            return False
        if self.state_machine.current_state in _DATA_TRANSFER:
            return self._receive()
        self._news = True
        return super()._is_transport_event()

    def _process_recv_primitive(self) -> bool:
        found = super()._process_recv_primitive()
        self._news = self._news or found
        return found

    # What the cutter calls.

    def fragment(self, fragment: Fragment) -> None:
        """See `FragmentReader`."""
        if fragment.is_command:
            self._take_command(fragment)
            return
        message = self._message
        if message is None:
            raise ProtocolError("a data set without a command")
        self._message_bytes += len(fragment.content)
        if isinstance(message, Reception):
            if self._message_bytes > self._limits.max_message:
                raise ProtocolError(f"a message of more than {self._limits.max_message} bytes")
            message.write(fragment.content)
            if fragment.is_last:
                self._answer(fragment.context_id, message)
        else:
            if self._message_bytes > self._limits.max_other_message:
                raise ProtocolError(f"a message of more than {self._limits.max_other_message} bytes")
            try:
                self._room.take(self, len(fragment.content), self._limits.idle_seconds)
            except OSError as error:
                raise ProtocolError(str(error)) from error
            self._hand_over(fragment.context_id, 0x02 if fragment.is_last else 0x00, fragment.content)

    def other_pdu(self, pdu: bytes) -> None:
        """See `FragmentReader`: the library's to decode and to act on."""
        if not 0x01 <= pdu[0] <= 0x07:
            raise ProtocolError(f"a PDU of type {pdu[0]:02X}")
        try:
            decoded, event = self._decode_pdu(bytearray(pdu))
        except Exception as error:
            raise ProtocolError(f"a PDU of type {pdu[0]:02X} that cannot be decoded") from error
        self._recv_pdu.put(decoded)
        self.event_queue.put(event)
        self._news = True

    def _wait(self) -> bool:
        """Whether there are bytes to be read; also returns when there is anything else to do."""
        wire = self.socket.socket if self.socket is not None else None
        # A peer may send ahead one message of those that the reactor serves, not as many as it likes.
        reads = wire is not None and self.assoc.dimse.msg_queue.empty()
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        rest = _REST_SECONDS if self.event_queue.empty() else 0.0
        try:
            if reads and wire is not None:
                poll.register(wire, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(rest * 1000)}
        except (OSError, ValueError):  # another thread closed the connection
            self.event_queue.put("Evt17")
            return False
        if self._wakeup in ready:
            os.eventfd_read(self._wakeup)
            ready.discard(self._wakeup)
        if not ready and reads and self._is_midway():
            silent = time.monotonic() - self._last_bytes_at
            if silent > self._limits.idle_seconds:
                logger.warning("%s was silent for %.0f s within a message", self._peer, silent)
                self.event_queue.put("Evt19")
                self._last_bytes_at = time.monotonic()
        return bool(ready)

    def _receive(self) -> bool:
        """Read what there is and take it to where it belongs."""
        wire = self.socket.socket if self.socket is not None else None
        if wire is None:
            return False
        try:
            received = wire.recv_into(self._read[self._unread :])
        except TimeoutError:
            return False
        except (OSError, ValueError):
            received = 0
        if not received:
            self._news = True
            self.event_queue.put("Evt17")
            return True
        self._last_bytes_at = time.monotonic()
        end = self._unread + received
        try:
            used = self._cutter.feed(self._read[:end])
        except Exception as error:
            if isinstance(error, ProtocolError):
                logger.warning("association of %s aborted: %s", self._peer, error)
            else:
                logger.exception("association of %s aborted: a fault of ours", self._peer)
            self._forget_message()
            self._news = True
            self._unread = 0
            self.event_queue.put("Evt19")  # unrecognised or invalid PDU: A-ABORT (PS3.8 9.2.3)
            return True
        self._unread = end - used
        if self._unread:
            self._read[: self._unread] = bytes(self._read[used:end])
        return True

    def _is_midway(self) -> bool:
        return bool(self._unread or self._cutter.midway or self._command or self._message is not None)

    def _take_command(self, fragment: Fragment) -> None:
        if self._message is not None:
            raise ProtocolError("a command within a data set")
        self._command += fragment.content
        if len(self._command) > _COMMAND_BYTES:
            raise ProtocolError(f"a command set of more than {_COMMAND_BYTES} bytes")
        if not fragment.is_last:
            return
        command, self._command = self._command, bytearray()
        self._message_bytes = 0
        request = read_store_request(command)
        if request is not None:
            if self._scratch is None:
                self._scratch = bytearray(HELD_BYTES)
            reception = self._stores.begin(self.assoc, fragment.context_id, request, self._scratch)
            if reception is not None:
                self._request, self._message = request, reception
                if not request.has_data_set:
                    self._answer(fragment.context_id, reception)
                return
        # What the message before it took is free: the reactor has it, or nothing would have been read.
        self._room.give(self)
        self._message = _Other() if has_data_set(command) else None
        self._hand_over(fragment.context_id, _LAST_COMMAND, memoryview(command))

    def _hand_over(self, context_id: int, control: int, content: memoryview) -> None:
        """Give the library a fragment as if it had received it."""
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[context_id, bytes([control]) + content]]  # type: ignore[list-item]
        if control == 0x02:
            self._message = None
        try:
            self.assoc.dimse.receive_primitive(primitive)
        except Exception as error:
            raise ProtocolError("a message that cannot be decoded") from error
        if self._message is None:
            self._ring()

    def _answer(self, context_id: int, reception: Reception) -> None:
        request, self._request, self._message = self._request, None, None
        assert request is not None  # noqa: S101 - there is one with each reception
        answer = self._stores.complete(self.assoc, reception)
        response = write_store_response(request, answer.status, answer.comment)
        largest = max(1, (self.assoc.requestor.maximum_length or _RESPONSE_BYTES) - 6)
        pieces = [response[at : at + largest] for at in range(0, len(response), largest)]
        for number, piece in enumerate(pieces, 1):
            control = 0x03 if number == len(pieces) else 0x01
            header = struct.pack(">BxIIBB", P_DATA_TF, len(piece) + 6, len(piece) + 2, context_id, control)
            if self.socket is not None:
                self.socket.send(header + piece)

    def _forget_message(self) -> None:
        if isinstance(self._message, Reception):
            self._message.abandon()
        self._message = None

    def _ring(self) -> None:
        checkpoint = self.assoc._reactor_checkpoint
        if isinstance(checkpoint, Checkpoint):
            checkpoint.ring()

    def _wake(self) -> None:
        with self._wakeup_lock:
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    @property
    def _peer(self) -> str:
        return str(self.assoc.requestor.address)


class _Other:
    """A message that is not a C-STORE, while its data set goes to the library."""
