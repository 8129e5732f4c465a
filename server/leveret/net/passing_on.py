"""Passing connections on to the brokers that serve them.

A connection whose virtual host is not served here waits (`protocol/connections/passing_on.py`)
until a broker of the cluster does: then there is a link to that broker, the header that says whose
connection it is, and the handshake again. After connection.open-ok the sockets of the client and of
the link are spliced, and nothing here looks at frames any more. What fails is tried again for as
long as the client's handshake may take, except for what the owner refuses.

What is passed on counts as a socket here, and as an open connection at its owner. When the virtual
host has another owner, and the former one has not closed the connection, it is cut: an owner that
stands still, or whose machine is gone, closes nothing.

When this broker stops it asks the owners to close the connections: they know where a frame ends.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from pamqp.commands import Connection as ConnectionMethods

from leveret.addresses import AddressError, parse_address
from leveret.engine.broker import Broker
from leveret.engine.placement import ServedBy
from leveret.errors import AmqpError, ReplyCode
from leveret.logging import get_logger
from leveret.net.cluster_listener import INSTANCE_BYTES
from leveret.net.link_proof import AMQP, CLOSE
from leveret.net.links import LinkError, Links
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.proxy_protocol import ProxyHeaderError
from leveret.net.splice import BUFFER_BYTES, Splice
from leveret.net.transport import AmqpTransport
from leveret.net.vouching import encode
from leveret.protocol.connections.owner_handshake import HandshakeError, OwnerHandshake
from leveret.protocol.connections.passing_on import PassingOn
from leveret.protocol.wire import methods

LINK_TIMEOUT_S: Final = 3.0
"""Seconds for a link."""

RETRY_S: Final = 0.02
RETRY_MAX_S: Final = 0.3
"""Seconds until the owner is looked for again, at first and at most."""

DIALING_MAX: Final = 64
"""Links that are dialed at a time: after a failover all clients come back at once."""

CUT_PER_TICK: Final = 500
"""Connections of former owners that one tick cuts: some milliseconds."""

REASON_BYTES_MAX: Final = 255

OPEN_OK: Final = methods.encode(ConnectionMethods.OpenOk(), 0)

logger = get_logger()


class Passed(NamedTuple):
    """Which connections are passed on over links to a broker."""

    vhost: str
    node: str
    address: str


class PassedOnConnections:
    """The connections of a server that are passed on, and those that wait for it."""

    def __init__(
        self, broker: Broker, scheduler: LoopScheduler, closed: Callable[[], None]
    ) -> None:
        """:param closed: called when a connection that was passed on has ended."""
        self.links: Links | None = None
        """What owners are reached over; None for a broker that passes nothing on."""
        self.total = 0
        """Connections that were passed on since the start."""
        self.failures = 0
        """Attempts to reach an owner that have failed, since the start."""
        self._broker = broker
        self._scheduler = scheduler
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._instance = secrets.token_bytes(INSTANCE_BYTES)
        self._tasks: dict[PassingOn, asyncio.Task[None]] = {}
        self._dialing = asyncio.Semaphore(DIALING_MAX)
        self._buffer: memoryview | None = None
        """What is read of connections that are passed on; made with the first of them."""
        self._splices: dict[Splice, Passed] = {}
        self._by_owner: dict[Passed, set[Splice]] = {}
        self._moved: set[Passed] = set()
        """Those whose virtual host had another owner at the last tick already."""
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Connections that are passed on at the moment."""
        return len(self._splices)

    @property
    def waiting(self) -> int:
        """Connections that wait for their owner."""
        return len(self._tasks)

    def descriptors(self) -> list[int]:
        """The file descriptors of the clients' sockets."""
        return [splice.descriptor() for splice in self._splices]

    # --- waiting ----------------------------------------------------------------------------

    def add(self, transport: AmqpTransport, passing_on: PassingOn) -> None:
        """Pass a connection on as soon as its virtual host is served somewhere."""
        task = self._loop.create_task(self._pass_on(transport, passing_on))
        self._tasks[passing_on] = task

    def discard(self, passing_on: PassingOn) -> None:
        """A connection waits no longer."""
        task = self._tasks.pop(passing_on, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _pass_on(self, transport: AmqpTransport, passing_on: PassingOn) -> None:
        delay_s = RETRY_S
        said = ""
        while passing_on in self._tasks:
            if passing_on.is_served_here:
                transport.open_here()
                return
            refusal = passing_on.refusal
            if refusal is not None:
                passing_on.refuse(refusal)
                return
            placement = self._broker.placement
            if placement is not None and placement.is_cut_off:
                # Others may serve it long since: the client is to ask one of them.
                passing_on.is_down()
                return
            served_by = None if placement is None else placement.served_by(passing_on.vhost)
            if transport.is_passed_on_to_this:
                if served_by is None or not served_by.is_local:
                    passing_on.is_down()
                    return
            elif served_by is not None and not served_by.is_local and self.links is not None:
                try:
                    await self._attempt(transport, passing_on, served_by, self.links)
                    return
                except (LinkError, HandshakeError, ProxyHeaderError, _NotYet) as error:
                    self.failures += 1
                    said = self._log_failure(transport, served_by, str(error), said)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_MAX_S)

    def _log_failure(
        self, transport: AmqpTransport, served_by: ServedBy, reason: str, said: str
    ) -> str:
        """Log why the owner is not reached, once; what was said last."""
        if reason != said:
            transport.logger.info("not passed on yet", node=served_by.node, reason=reason)
        return reason

    async def _attempt(
        self, transport: AmqpTransport, passing_on: PassingOn, owner: ServedBy, links: Links
    ) -> None:
        """Pass a connection on, or have it refused as its owner refuses it.

        :raises LinkError: if there is no link, as do the others if it comes to no answer.
        """
        try:
            address = parse_address(owner.address)
        except AddressError as error:
            raise LinkError(f"it takes no connections of others: {error}") from None
        session = transport.connection.session
        header = encode(session.peer, session.user, self._instance)
        async with self._dialing:
            link = await links.dial(address, owner.node, AMQP, LINK_TIMEOUT_S)
            handshake = _OwnerLink(link, OwnerHandshake(passing_on))
            try:
                handshake.begin(header)
                refusal = await handshake.done
            finally:
                if not handshake.is_answered:
                    link.abort()
        if refusal is not None:
            link.close()
            if refusal.reply_code == ReplyCode.INTERNAL_ERROR:
                raise _NotYet(refusal.reply_text)
            passing_on.refuse(_error_of(refusal))
        elif passing_on not in self._tasks:
            link.abort()
        elif link.is_closing():
            raise HandshakeError("it closed the link")
        else:
            passed = Passed(passing_on.vhost, owner.node, owner.address)
            self._splice(transport, link, handshake.rest, passed)

    def _splice(
        self, transport: AmqpTransport, link: asyncio.Transport, rest: bytes, passed: Passed
    ) -> None:
        transport.logger.info("connection passed on", vhost=passed.vhost, node=passed.node)
        client, input_rest = transport.give_away()
        if self._buffer is None:
            self._buffer = memoryview(bytearray(BUFFER_BYTES))
        splice = Splice(self._scheduler, self._buffer, client, link, self._ended)
        self.total += 1
        self._splices[splice] = passed
        self._by_owner.setdefault(passed, set()).add(splice)
        splice.begin(OPEN_OK + rest, input_rest)

    def _ended(self, splice: Splice) -> None:
        passed = self._splices.pop(splice)
        group = self._by_owner[passed]
        group.discard(splice)
        if not group:
            del self._by_owner[passed]
        self._closed()

    # --- owners that close nothing ------------------------------------------------------------

    def check_owners(self) -> None:
        """Cut what is passed on to a broker that is not the owner any more, and was not at the last
        call: an owner that hands over closes its connections itself."""
        placement = self._broker.placement
        if placement is None:
            return
        moved = set()
        left = CUT_PER_TICK
        for passed, splices in list(self._by_owner.items()):
            served_by = placement.served_by(passed.vhost)
            if served_by is None or served_by.node == passed.node:
                continue
            moved.add(passed)
            if passed in self._moved:
                cut = list(splices)[:left]
                left -= len(cut)
                _cut(cut, passed)
        self._moved = moved

    # --- the end ----------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        """Have the owners close everything that is passed on (CONNECTION_FORCED)."""
        for task in list(self._tasks.values()):
            task.cancel()
        owners = {(each.node, each.address) for each in self._by_owner}
        for node, address in owners:
            task = self._loop.create_task(self._ask_to_close(node, address, reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _ask_to_close(self, node: str, address: str, reason: str) -> None:
        if self.links is None:
            return
        text = reason.encode()[:REASON_BYTES_MAX]
        try:
            link = await self.links.dial(parse_address(address), node, CLOSE, LINK_TIMEOUT_S)
        except LinkError as error:
            logger.info("passed-on connections are cut", node=node, reason=str(error))
            return
        link.write(self._instance + bytes((len(text),)) + text)
        link.close()

    def abort(self) -> None:
        """Close all sockets at once."""
        for task in (*self._tasks.values(), *self._closing):
            task.cancel()
        for splice in list(self._splices):
            splice.abort()


class _NotYet(Exception):
    """The broker that is to serve a virtual host does not do so yet; the text is its own."""


class _OwnerLink(asyncio.Protocol):
    """A link from its proof to connection.open-ok."""

    def __init__(self, link: asyncio.Transport, handshake: OwnerHandshake) -> None:
        self._link = link
        self._handshake = handshake
        self.done: asyncio.Future[ConnectionMethods.Close | None] = (
            asyncio.get_running_loop().create_future()
        )
        """The owner's refusal, or None when it has opened the connection. Fails with
        HandshakeError. The link is not read any more then."""

    @property
    def is_answered(self) -> bool:
        """Whether the owner has opened or refused the connection."""
        return self._handshake.opened or self._handshake.refusal is not None

    @property
    def rest(self) -> bytes:
        """What came behind connection.open-ok."""
        return self._handshake.rest

    def begin(self, header: bytes) -> None:
        """Say whose connection it is, and begin its handshake."""
        self._link.set_protocol(self)
        self._link.write(header + self._handshake.begin())
        self._link.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        handshake = self._handshake
        try:
            reply = handshake.receive(data)
        except HandshakeError as error:
            self.done.set_exception(error)
            return
        if reply:
            self._link.write(reply)
        if self.is_answered:
            self._link.pause_reading()
            self.done.set_result(handshake.refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(HandshakeError("it closed the link"))


def _cut(splices: Iterable[Splice], passed: Passed) -> None:
    logger.warning("connections to a former owner are cut", vhost=passed.vhost, node=passed.node)
    for splice in splices:
        splice.abort()


def _error_of(refusal: ConnectionMethods.Close) -> AmqpError:
    """The error that an owner has closed the connection with."""
    try:
        code = ReplyCode(refusal.reply_code or 0)
    except ValueError:
        return AmqpError(ReplyCode.INTERNAL_ERROR, refusal.reply_text)
    return AmqpError(code, refusal.reply_text.removeprefix(f"{code.name} - "))
