"""Connections that do nothing but live: one channel, one consumer on a shared queue, heartbeats.

They are what idle memory and idle processor time are measured with, and how a broker is asked for
its name. Methods are written and read with pamqp.
"""

import selectors
import socket
import time
from typing import TypeVar

from pamqp import base, commands, frame, header, heartbeat

from bench.contestants import NotMeasured, Running

QUEUE = "bench.quiet"
HEARTBEAT_S = 10  # shorter than the brokers' 60, so that 20 seconds hold several of everyone's
ANSWER_DEADLINE_S = 20.0
TICK_S = 0.05
RECEIVE_BYTES = 65536
FRAME_PREFIX = 7
HEARTBEAT = frame.marshal(heartbeat.Heartbeat(), 0)

Method = TypeVar("Method", bound=base.Frame)


class Link:
    """One connection past connection.open-ok, and its blocking method calls."""

    def __init__(self, broker: Running, heartbeat_s: int) -> None:
        self.socket = socket.create_connection((broker.host, broker.port), ANSWER_DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self.socket.sendall(header.ProtocolHeader().marshal())
        start = self._expect(commands.Connection.Start)
        self.server_properties = dict(start.server_properties or {})
        self._send(0, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
        tune = self._expect(commands.Connection.Tune)
        answer = commands.Connection.TuneOk(tune.channel_max, tune.frame_max, heartbeat_s)
        self._send(0, answer)
        self.call(0, commands.Connection.Open("/"), commands.Connection.OpenOk)

    def consume(self) -> None:
        """Open channel 1 and consume from the shared queue, declaring it."""
        self.call(1, commands.Channel.Open(), commands.Channel.OpenOk)
        self.call(1, commands.Queue.Declare(queue=QUEUE), commands.Queue.DeclareOk)
        self.call(1, commands.Basic.Consume(queue=QUEUE), commands.Basic.ConsumeOk)

    def call(self, channel: int, request: base.Frame, answer: type[Method]) -> Method:
        """Send one method and return the one that answers it.

        Raises NotMeasured when another comes, and TimeoutError when none does.
        """
        self._send(channel, request)
        return self._expect(answer)

    def _send(self, channel: int, method: base.Frame) -> None:
        self.socket.sendall(frame.marshal(method, channel))

    def _expect(self, wanted: type[Method]) -> Method:
        value = self._next_method()
        if not isinstance(value, wanted):
            raise NotMeasured(f"{wanted.name} was expected, the broker sent {value!r}")
        return value

    def _next_method(self) -> object:
        while True:
            size = FRAME_PREFIX + 1
            if len(self._received) >= FRAME_PREFIX:
                size += int.from_bytes(self._received[3:FRAME_PREFIX], "big")
            if len(self._received) < size:
                self._receive()
                continue
            _, _, value = frame.unmarshal(bytes(self._received[:size]))
            del self._received[:size]
            if not isinstance(value, heartbeat.Heartbeat):
                return value

    def _receive(self) -> None:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise NotMeasured("the broker closed a connection while it was being set up")
        self._received += data


class Quiet:
    """Many quiet connections, kept alive as long as keep() is called."""

    def __init__(self, broker: Running) -> None:
        self._broker = broker
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._next_beat_s: list[float] = []

    def open(self, count: int) -> None:
        """Open `count` more connections with a channel and a consumer each.

        Their heartbeats are spread over the heartbeat's interval.
        """
        for i in range(count):
            self._beat()
            link = Link(self._broker, HEARTBEAT_S)
            link.consume()
            link.socket.setblocking(False)
            self._selector.register(link.socket, selectors.EVENT_READ)
            self._sockets.append(link.socket)
            self._next_beat_s.append(time.monotonic() + HEARTBEAT_S / 2 * (i + 1) / count)

    def keep(self, seconds: float) -> None:
        """Live for a while: send heartbeats when due, read those of the broker.

        Raises NotMeasured when the broker closes a connection.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._beat()
            for key, _ in self._selector.select(TICK_S):
                assert isinstance(key.fileobj, socket.socket)
                if not key.fileobj.recv(RECEIVE_BYTES):
                    raise NotMeasured("the broker closed a quiet connection")
            # Reading each heartbeat as it comes would take a tenth of a core from the broker.
            time.sleep(TICK_S)

    def _beat(self) -> None:
        now = time.monotonic()
        for i, due in enumerate(self._next_beat_s):
            if due <= now:
                self._sockets[i].send(HEARTBEAT)
                self._next_beat_s[i] = now + HEARTBEAT_S / 2

    def close(self) -> None:
        """Close every connection's socket."""
        self._selector.close()
        for sock in self._sockets:
            sock.close()


def describe(broker: Running) -> str:
    """Product, version and platform, as the broker gives them in connection.start."""
    link = Link(broker, 0)
    link.socket.close()
    wanted = ("product", "version", "platform")
    return " ".join(str(link.server_properties.get(key, "?")) for key in wanted)
