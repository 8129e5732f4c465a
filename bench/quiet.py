"""Idle connections: heartbeats and, if wanted, a channel with a consumer on a shared queue.

The rows of idle memory, of idle processor time and of the latency beside idle connections use
them, and so does the question for a broker's name. pamqp encodes and decodes the methods.
"""

import heapq
import selectors
import socket
import threading
import time
from typing import TypeVar

from pamqp import base, commands, frame, header, heartbeat

from bench.contestants import NotMeasured, Running

QUEUE = "bench.quiet"
HEARTBEAT_S = 10
"""Shorter than the brokers' 60, so that each connection has several heartbeats in 20 seconds."""
ANSWER_DEADLINE_S = 20.0
TICK_S = 0.05
RECEIVE_BYTES = 65536
FRAME_PREFIX = 7
HEARTBEAT = frame.marshal(heartbeat.Heartbeat(), 0)

Method = TypeVar("Method", bound=base.Frame)


class Link:
    """One open connection, and blocking method calls on it."""

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
        """Open channel 1, declare the shared queue and consume from it."""
        self.call(1, commands.Channel.Open(), commands.Channel.OpenOk)
        self.call(1, commands.Queue.Declare(queue=QUEUE), commands.Queue.DeclareOk)
        self.call(1, commands.Basic.Consume(queue=QUEUE), commands.Basic.ConsumeOk)

    def call(self, channel: int, request: base.Frame, answer: type[Method]) -> Method:
        """Send one method and return its reply.

        :raises NotMeasured: if another method comes.
        :raises TimeoutError: if none comes.
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
            raise NotMeasured("the broker closed a connection before it was open")
        self._received += data


class Quiet:
    """Idle connections, kept alive by heartbeats while `keep` or `keep_until` runs."""

    def __init__(
        self, broker: Running, heartbeat_s: int = HEARTBEAT_S, consuming: bool = True
    ) -> None:
        """`consuming`: whether each connection has a channel and a consumer."""
        self._broker = broker
        self._heartbeat_s = heartbeat_s
        self._consuming = consuming
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._next_beat_s: list[tuple[float, int]] = []
        """A heap: when a heartbeat is due, and the index of its socket."""

    def open(self, count: int) -> None:
        """Open `count` more connections; their heartbeats are spread over the interval."""
        interval_s = self._heartbeat_s / 2
        for i in range(count):
            self._beat()
            link = Link(self._broker, self._heartbeat_s)
            if self._consuming:
                link.consume()
            link.socket.setblocking(False)
            self._selector.register(link.socket, selectors.EVENT_READ)
            due_s = time.monotonic() + interval_s * (i + 1) / count
            heapq.heappush(self._next_beat_s, (due_s, len(self._sockets)))
            self._sockets.append(link.socket)

    def keep(self, seconds: float) -> None:
        """Keep the connections alive for a while.

        :raises NotMeasured: if the broker closes a connection.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._exchange_heartbeats()

    def keep_until(self, stopped: threading.Event) -> None:
        """Keep the connections alive until the event is set.

        :raises NotMeasured: if the broker closes a connection.
        """
        while not stopped.is_set():
            self._exchange_heartbeats()

    def _exchange_heartbeats(self) -> None:
        self._beat()
        for key, _ in self._selector.select(TICK_S):
            assert isinstance(key.fileobj, socket.socket)
            if not key.fileobj.recv(RECEIVE_BYTES):
                raise NotMeasured("the broker closed an idle connection")
        # To read each heartbeat as it comes would take a tenth of a core from the broker.
        time.sleep(TICK_S)

    def _beat(self) -> None:
        now = time.monotonic()
        while self._next_beat_s and self._next_beat_s[0][0] <= now:
            _, index = self._next_beat_s[0]
            self._sockets[index].send(HEARTBEAT)
            heapq.heapreplace(self._next_beat_s, (now + self._heartbeat_s / 2, index))

    def close(self) -> None:
        """Close every connection's socket."""
        self._selector.close()
        for sock in self._sockets:
            sock.close()


def describe(broker: Running) -> str:
    """Product, version and platform from the broker's connection.start."""
    link = Link(broker, 0)
    link.socket.close()
    wanted = ("product", "version", "platform")
    return " ".join(str(link.server_properties.get(key, "?")) for key in wanted)
