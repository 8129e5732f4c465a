"""The handshake with the broker that serves a client's virtual host: what the client has said to
this one is said again, and the user is one whom this broker vouches for.

Octets in, octets out. It ends with connection.open-ok, or with a connection.close of the owner.
"""

import struct
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Connection as ConnectionMethods

from leveret.errors import AmqpError
from leveret.limits import FRAME_OVERHEAD, INITIAL_FRAME_BYTES_MAX
from leveret.protocol.connections.handshake import EXTERNAL
from leveret.protocol.connections.passing_on import PassingOn
from leveret.protocol.wire import methods
from leveret.protocol.wire.frames import FRAME_END, FRAME_HEARTBEAT, FRAME_METHOD
from leveret.protocol.wire.greeting import PROTOCOL_HEADER

LOCALE: Final = "en_US"


class HandshakeError(Exception):
    """The owner does not do its part of the handshake; the text says what it does."""


class OwnerHandshake:
    """One handshake, in the role of the client."""

    def __init__(self, passing_on: PassingOn) -> None:
        self._passing_on = passing_on
        self._data = b""
        self.opened = False
        """Whether connection.open-ok has come: `rest` is what came behind it."""
        self.refusal: ConnectionMethods.Close | None = None
        """The connection.close of the owner, which is answered."""

    def begin(self) -> bytes:
        """What is said first."""
        return PROTOCOL_HEADER

    @property
    def rest(self) -> bytes:
        """What has come behind the last method."""
        return self._data

    def receive(self, data: bytes) -> bytes:
        """Take octets of the owner.

        :returns: what to answer.
        :raises HandshakeError: if they are not what is expected.
        """
        self._data += data
        reply = b""
        while not self.opened and self.refusal is None:
            payload = self._next_frame()
            if payload is None:
                break
            if payload:
                reply += self._answer(payload)
        return reply

    def _next_frame(self) -> bytes | None:
        """The payload of the next method; empty for a heartbeat, None if it is not whole."""
        data = self._data
        if len(data) < FRAME_OVERHEAD:
            return None
        kind, channel, size = struct.unpack_from(">BHI", data)
        if kind not in (FRAME_METHOD, FRAME_HEARTBEAT) or channel or size > INITIAL_FRAME_BYTES_MAX:
            raise HandshakeError("it answers with something else than the methods of a handshake")
        end = FRAME_OVERHEAD + int(size)
        if len(data) < end:
            return None
        if data[end - 1] != FRAME_END:
            raise HandshakeError("it sends a frame without an end")
        self._data = data[end:]
        return data[FRAME_OVERHEAD - 1 : end - 1]

    def _answer(self, payload: bytes) -> bytes:
        try:
            method: Any = methods.decode(payload)
        except AmqpError as error:
            raise HandshakeError(f"it sends a malformed method: {error.text}") from None
        if isinstance(method, ConnectionMethods.Start):
            return self._start_ok()
        if isinstance(method, ConnectionMethods.Tune):
            return self._tune_ok_and_open()
        if isinstance(method, ConnectionMethods.OpenOk):
            self.opened = True
            return b""
        if isinstance(method, ConnectionMethods.Close):
            self.refusal = method
            return methods.encode(ConnectionMethods.CloseOk(), 0)
        name = methods.method_name(*divmod(int(method.index), 0x10000))
        raise HandshakeError(f"it sends {name}")

    def _start_ok(self) -> bytes:
        mechanism, locale = EXTERNAL.encode(), LOCALE.encode()
        payload = b"".join(
            (
                struct.pack(">I", ConnectionMethods.StartOk.index),
                self._passing_on.introduction,
                bytes((len(mechanism),)),
                mechanism,
                struct.pack(">I", 0),
                bytes((len(locale),)),
                locale,
            )
        )
        head = struct.pack(">BHI", FRAME_METHOD, 0, len(payload))
        return head + payload + bytes((FRAME_END,))

    def _tune_ok_and_open(self) -> bytes:
        channel_max, frame_max, heartbeat = self._passing_on.limits
        tune_ok: Frame = ConnectionMethods.TuneOk(channel_max, frame_max, heartbeat)
        opening: Frame = ConnectionMethods.Open(virtual_host=self._passing_on.vhost)
        return methods.encode(tune_ok, 0) + methods.encode(opening, 0)
