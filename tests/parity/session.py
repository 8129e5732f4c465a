"""The connections of a scenario, and the transcript of what they sent and received.

A step sends something, then reads until the broker has sent everything that follows from it. No
step waits for a time: a fence, a request whose reply is left out of the transcript, shows that all
is there. channel.flow(active=true) is answered in order on its channel and changes nothing; a
passive queue.declare is answered by the queue after everything the channel sent to it before.

A scenario may use any names: what it declared is deleted when its session ends.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from pamqp import base, body, commands, header

from tests.parity.transcript import Names, received_lines, sent_bytes_line, sent_line
from tests.support.brokers import wait_until
from tests.support.wire import (
    AnyFrame,
    Arrived,
    ClosedByServerError,
    Wire,
    connect,
    connection_close,
    make_start_ok,
    marshal_content,
    raw_method,
    short_string,
)

SILENCE_S = 60.0
SCENARIO_DEADLINE_S = 120.0
"""Seconds a whole scenario may take."""

CLEANUP_DEADLINE_S = 60.0
RESOURCE_LOCKED = 405

Administer = Callable[..., None]
"""Runs a command of rabbitmqctl, given as its words."""

CONTENT_METHODS = (commands.Basic.Deliver, commands.Basic.GetOk, commands.Basic.Return)

Channel = commands.Channel
Connection = commands.Connection
Queue = commands.Queue


class Client:
    """One connection of a scenario; its lines start with its name."""

    def __init__(self, session: "Session", name: str, wire: Wire) -> None:
        self._session = session
        self._wire = wire
        self._name = name
        self._arrived: list[Arrived] = []
        self._closed_channels: set[int] = set()
        self.disconnected = False
        self.opened = False
        self.answers_channel_close = True
        self.generated_name = ""
        self.reply_to = ""
        """The property reply-to of the message that arrived last."""

    def send(self, value: AnyFrame, ch: int = 1) -> None:
        """Send one frame and read nothing."""
        self._session.remember(value)
        self._session.write(sent_line(self._name, value, ch))
        self._send(lambda: self._wire.send(value, ch))

    def raw(self, data: bytes) -> None:
        """Send any bytes and read nothing."""
        self._session.write(sent_bytes_line(self._name, data))
        self._send(lambda: self._wire.send_bytes(data))

    def publish(
        self,
        exchange: str = "",
        key: str = "",
        content: bytes = b"",
        ch: int = 1,
        *,
        mandatory: bool = False,
        immediate: bool = False,
        **properties: object,
    ) -> None:
        """Send basic.publish with its content and read nothing."""
        method = commands.Basic.Publish(0, exchange, key, mandatory, immediate)
        fields = commands.Basic.Properties(**properties)  # type: ignore[arg-type]
        head = header.ContentHeader(body_size=len(content), properties=fields)
        self._session.write(sent_line(self._name, method, ch))
        self._session.write(sent_line(self._name, head, ch))
        data = marshal_content(method, ch, content, fields, self._wire.frame_max)
        self._send(lambda: self._wire.send_bytes(data))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Have the broker get all that is sent in this context at one time."""
        with self._wire.at_once():
            yield

    def do(self, value: AnyFrame, *queues: str, ch: int = 1) -> None:
        """Send one frame, then drain."""
        self.send(value, ch)
        self.drain(*queues, ch=ch)

    def drain(self, *queues: str, ch: int = 1) -> None:
        """Read what the broker still has to send on the channel, and from the queues to it.

        The replies to channel.flow and to a passive queue.declare come after all of it.
        """
        fences: list[base.Frame] = [Channel.Flow(True)]
        fences += [Queue.Declare(0, name, passive=True) for name in queues]
        fences += [Channel.Flow(True), Channel.Flow(True)]
        for fence in fences:
            self._fence(fence, ch)
        self._write_arrived()

    def deliveries(self, *queues: str, ch: int = 1) -> list[tuple[str, bytes]]:
        """Read as `drain` does, and return the deliveries: consumer tag and body. Not recorded."""
        self._fence(Channel.Flow(True), ch)
        for name in queues:
            self._fence(Queue.Declare(0, name, passive=True), ch)
        found: list[tuple[str, bytes]] = []
        for one in self._arrived:
            if isinstance(one.frame, commands.Basic.Deliver):
                found.append((one.frame.consumer_tag or "", b""))
            elif isinstance(one.frame, body.ContentBody):
                tag, content = found.pop()
                found.append((tag, content + one.frame.value))
        self._arrived.clear()
        return found

    def receive_until(self, *kinds: type[base.Frame]) -> None:
        """Read until a frame, with its content, of every named kind is there, or a channel closed.

        A kind that is named twice is waited for twice.
        """
        wanted = Counter(kinds)
        closed = len(self._closed_channels)
        self._read_while(
            lambda: (
                len(self._closed_channels) == closed
                and any(self._complete(kind) < count for kind, count in wanted.items())
            )
        )
        self._write_arrived()

    def ask(self, value: base.Frame, reply: type[base.Frame], *queues: str, ch: int = 1) -> None:
        """Send a method after which nothing may be sent before its reply; read that, then drain."""
        self.send(value, ch)
        self.receive_until(reply)
        self.drain(*queues, ch=ch)

    def wait_for_depth(self, queue: str, messages: int) -> None:
        """Wait until a queue has so many messages ready; not recorded."""

        def is_so() -> bool:
            return self._session.message_count(queue) == messages

        wait_until(is_so, SILENCE_S, f"queue {queue!r} having {messages} messages")

    def wait_for_deletion(self, queue: str) -> None:
        """Wait until there is no such queue; asking does not count as a use of it. Not recorded."""
        is_missing = partial(self._session.is_missing, queue)
        wait_until(is_missing, SILENCE_S, f"queue {queue!r} being deleted")

    def receive_until_closed(self) -> None:
        """Read until the server has closed the connection."""
        self._read_while(lambda: True)
        self._write_arrived()

    def open(self, ch: int) -> None:
        """Open a channel; recorded."""
        self._closed_channels.discard(ch)
        self.send(Channel.Open(), ch)
        self.receive_until(Channel.OpenOk)

    def reopen_if_closed(self, ch: int = 1) -> bool:
        """Open the channel again if the server closed it; whether it had."""
        closed = ch in self._closed_channels
        if closed and not self.disconnected:
            self.open(ch)
        return closed

    def drop(self) -> None:
        """Close the socket without connection.close."""
        self._session.write(f"{self._name} > drops the connection")
        self.disconnected = True
        self._wire.close_socket()

    def finish(self) -> None:
        """Close the connection with connection.close if it is open."""
        if self.opened and not self.disconnected:
            self._send(lambda: self._wire.send(connection_close()))
            self._read_while(lambda: self.opened)
        self._wire.close_socket()

    def _send(self, action: Callable[[], None]) -> None:
        if not self.disconnected:
            try:
                action()
            except ClosedByServerError:
                self._read_while(lambda: True)

    def _fence(self, fence: base.Frame, ch: int) -> None:
        if self.disconnected or ch in self._closed_channels:
            return
        replies = Queue.DeclareOk if isinstance(fence, Queue.Declare) else Channel.FlowOk
        self._send(lambda: self._wire.send(fence, ch))
        start = len(self._arrived)

        def unanswered() -> bool:
            new = self._arrived[start:]
            answered = any(one.channel == ch and isinstance(one.frame, replies) for one in new)
            return not answered and ch not in self._closed_channels

        self._read_while(unanswered)
        for at in range(len(self._arrived) - 1, start - 1, -1):
            one = self._arrived[at]
            if one.channel == ch and isinstance(one.frame, replies):
                del self._arrived[at]
                return

    def _complete(self, kind: type[base.Frame]) -> int:
        return sum(
            isinstance(one.frame, kind) and self._has_content(at)
            for at, one in enumerate(self._arrived)
        )

    def _has_content(self, at: int) -> bool:
        method = self._arrived[at]
        if not isinstance(method.frame, CONTENT_METHODS):
            return True
        rest = [one.frame for one in self._arrived[at + 1 :] if one.channel == method.channel]
        if not rest or not isinstance(rest[0], header.ContentHeader):
            return False
        size = 0
        for value in rest[1:]:
            if not isinstance(value, body.ContentBody):
                break
            size += len(value)
        return size >= rest[0].body_size

    def _read_while(self, wanted: Callable[[], bool]) -> None:
        while not self.disconnected and wanted():
            if time.monotonic() > self._session.deadline:
                self._give_up("no end")
                return
            try:
                arrived = self._wire.read()
            except ClosedByServerError:
                self._write_arrived()
                self._note_disconnected()
                return
            except TimeoutError:
                self._give_up("silence")
                return
            self._arrived.append(arrived)
            self._react(arrived)

    def _react(self, arrived: Arrived) -> None:
        if isinstance(arrived.frame, Queue.DeclareOk):
            self._session.remember(arrived.frame)
            self.generated_name = arrived.frame.queue or ""
        elif isinstance(arrived.frame, header.ContentHeader):
            self.reply_to = arrived.frame.properties.reply_to or ""
        elif isinstance(arrived.frame, Channel.Close):
            self._closed_channels.add(arrived.channel)
            if self.answers_channel_close:
                self._write_arrived()
                self.send(Channel.CloseOk(), arrived.channel)
        elif isinstance(arrived.frame, Connection.OpenOk):
            self.opened = True
        elif isinstance(arrived.frame, Connection.CloseOk):
            self.opened = False
        elif isinstance(arrived.frame, Connection.Close):
            self._write_arrived()
            self.send(Connection.CloseOk(), 0)
            self._read_while(lambda: True)

    def _give_up(self, why: str) -> None:
        self._write_arrived()
        self.disconnected = True
        self._session.write(f"{self._name} < {why}")

    def _note_disconnected(self) -> None:
        self.disconnected = True
        self._session.write(f"{self._name} < closed")

    def _write_arrived(self) -> None:
        for line in received_lines(self._name, self._arrived):
            self._session.write(line)
        self._arrived.clear()


class Session:
    """One run of a scenario against one broker."""

    def __init__(self, host: str, port: int, administer: Administer | None = None) -> None:
        self._address = (host, port)
        self._administer = administer
        self._clients: list[Client] = []
        self._queues: set[str] = set()
        self._exchanges: set[str] = set()
        self._names = Names()
        self._recording = True
        self.deadline = time.monotonic() + SCENARIO_DEADLINE_S
        """When a client stops reading, on the monotonic clock."""
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.unrecorded():
            for client in self._clients:
                client.finish()
            if kind is None:
                wait_until(self._cleaned, CLEANUP_DEADLINE_S, "deleting what the scenario declared")

    def write(self, line: str) -> None:
        """Add a line to the transcript."""
        if self._recording:
            self.lines.append(self._names.hide(line))

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Within this context nothing is added to the transcript."""
        self._recording = False
        yield
        self._recording = True

    def administer(self, *command: str) -> None:
        """Run a command of rabbitmqctl, and wait for its end."""
        if self._administer is None:
            raise ValueError("a session without commands")
        self.write(f"{' '.join(command)}")
        self._administer(*command)

    def open_socket(self, name: str = "a") -> Client:
        """A TCP connection on which nothing was sent yet."""
        client = Client(self, name, Wire(*self._address, timeout_s=SILENCE_S))
        self._clients.append(client)
        return client

    def connect(
        self,
        name: str = "a",
        *,
        user: str = "guest",
        vhost: str = "/",
        capabilities: bool = True,
        tune_ok: Connection.TuneOk | None = None,
    ) -> Client:
        """A connection that is logged in, with channel 1 open; not recorded. The password is the
        name of the user."""
        wire = Wire(*self._address, timeout_s=SILENCE_S)
        start_ok = make_start_ok(
            response=f"\0{user}\0{user}", capabilities=None if capabilities else {}
        )
        wire.negotiate(start_ok, tune_ok, vhost)
        wire.open_channel()
        client = Client(self, name, wire)
        client.opened = True
        self._clients.append(client)
        return client

    def message_count(self, queue: str) -> int | None:
        """Messages that are ready in a queue; None if there is no such queue."""
        answer = self._asked(Queue.Declare(0, queue, passive=True))
        return answer.message_count if isinstance(answer, Queue.DeclareOk) else None

    def is_missing(self, queue: str) -> bool:
        """Whether there is no such queue."""
        return isinstance(self._asked(Queue.Bind(0, queue, "amq.direct", "")), Channel.Close)

    def _asked(self, method: base.Frame) -> AnyFrame:
        """The answer to a method on a new connection."""
        with connect(*self._address, timeout_s=SILENCE_S) as wire:
            wire.send(method, 1)
            answer = wire.read().frame
            if isinstance(answer, Channel.Close):
                wire.send(Channel.CloseOk(), 1)
            wire.call(connection_close(), Connection.CloseOk, 0)
        return answer

    def remember(self, value: AnyFrame) -> None:
        """Note a name that has to be deleted at the end."""
        if isinstance(value, Queue.Declare | Queue.DeclareOk) and value.queue:
            self._queues.add(value.queue)
        elif isinstance(value, commands.Exchange.Declare) and _is_ours(value.exchange):
            self._exchanges.add(value.exchange)

    def _cleaned(self) -> bool:
        with connect(*self._address, timeout_s=SILENCE_S) as wire:
            for name in sorted(self._queues):
                wire.send_bytes(raw_method(1, 50, 40, b"\0\0" + short_string(name) + b"\0"))
                answer = wire.read().frame
                if isinstance(answer, Channel.Close) and answer.reply_code == RESOURCE_LOCKED:
                    return False
                if isinstance(answer, Channel.Close):
                    raise AssertionError(f"cannot delete queue {name!r}: {answer.reply_text}")
            for name in sorted(self._exchanges):
                wire.call(commands.Exchange.Delete(0, name), commands.Exchange.DeleteOk)
            wire.call(connection_close(), Connection.CloseOk, 0)
        return True


def _is_ours(exchange: str) -> bool:
    return bool(exchange) and not exchange.startswith("amq.")
