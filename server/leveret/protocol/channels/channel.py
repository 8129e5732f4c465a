"""A channel: content assembled into messages, and what becomes of them and of deliveries.

The hot methods, basic.publish, ack, nack and reject, are parsed here from their octets. All
others come decoded, through `handlers/`. A channel raises AmqpError for what its peer does wrong;
its connection answers and closes what the code says.
"""

from collections import deque
from typing import Final

from librt.strings import read_i16_be, read_i64_be
from mypy_extensions import i16, i32, i64
from pamqp.base import Frame

from leveret.config import Config
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.routes import Route
from leveret.engine.routing.sink import AWAITS_COMMIT, REFUSED, THROTTLE
from leveret.engine.values.encoded_table import HEADER_PREFIX_BYTES, check_properties, delivery_mode
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.deliveries import (
    ACKNOWLEDGED,
    FAILED,
    REJECTED,
    RETURNED,
    ChannelConsumer,
    Deliveries,
    Delivery,
    Outcome,
)
from leveret.protocol.channels.published_properties import (
    PERSISTENT,
    Examined,
    examine,
    is_to_be_examined,
)
from leveret.protocol.channels.session import ConfirmWriter, Session
from leveret.protocol.channels.transaction import Transaction
from leveret.protocol.states import (
    EXPECT_BODY,
    EXPECT_HEADER,
    EXPECT_METHOD,
    ChannelEvent,
    ChannelState,
    next_channel_state,
)
from leveret.protocol.wire import methods
from leveret.protocol.wire.frames import (
    wire_number,
    write_ack,
    write_get_ok,
    write_nack,
    write_return,
)

BASIC_CLASS: Final = 60
HEADER_BYTES_MIN: Final = 14
"""A content header: class, weight, body size and property flags."""

NO_ROUTE: Final = Route(b"", "", "", [], False)


class Channel(ConfirmWriter):
    """One open channel of a connection, which owns it and feeds it whole frames."""

    def __init__(self, session: Session, number: int, config: Config) -> None:
        self.session = session
        self.vhost: VirtualHost = session.vhost
        self.number = number
        self.state = ChannelState.OPEN
        self.open = True
        """Whether the state is OPEN, which is asked for every frame."""
        self.deliveries = Deliveries(session, number)
        self.prefetch = 0
        """Prefetch of the consumers to come: basic.qos without `global`."""
        self.consumer_timeout: int = config.consumer.timeout
        """Milliseconds consumers have to acknowledge, where no argument says it; 0 is no limit."""
        self.retunes: bool = config.qos.retune
        """Whether it is that of the consumers that are here, too."""
        self.last_queue = ""
        """The queue most recently declared here, which an empty name stands for."""
        self.transaction: Transaction | None = None
        self.confirming = False
        self.consumers_max: int = config.amqp.consumers_per_channel
        """Consumers the channel may have; 0 is no limit."""
        self._wire_number: i16 = wire_number(number)
        self._published: i64 = 0
        self._confirmed: i64 = 0
        self._confirms_wait = False
        self._refused: set[int] = set()
        """Publishes that were refused, behind others that are not confirmed yet."""
        self._clock = session.vhost.clock
        self._router = session.vhost.router
        self._publisher = session.vhost.publisher
        self._store = session.store
        self._kept_in: i64 = 0
        """The batch of the store that has the last message kept for this channel."""
        self._unsynced: deque[tuple[int, int]] = deque()
        """Publishes up to a number, and the batch that has to be synced before they are confirmed;
        those behind the last pair wait for `_kept_in`."""
        self.expecting: i32 = EXPECT_METHOD
        """The frame that has to come next: one of the constants in `states.py`."""
        self._raw_route = b""
        """Exchange and routing key of the content under way, as two short strings."""
        self._route = NO_ROUTE
        """The route of the last message, which mostly is that of the next."""
        self._mandatory = False
        self._header = b""
        self._persistent = False
        self._to_be_looked_at = False
        """Whether the properties of the last header have something the broker answers for."""
        self._examined: Examined | None = None
        self._examined_for = b""
        """The name for replies when it was examined."""
        self._parts: list[bytes] = []
        self._missing: i64 = 0
        self._message_bytes_max: i64 = config.amqp.max_message_size

    def move(self, event: ChannelEvent) -> None:
        """Change state.

        :raises AmqpError: if the event is not allowed now.
        """
        self.state = next_channel_state(self.state, event)
        self.open = self.state == ChannelState.OPEN

    def unexpected(self) -> AmqpError:
        """The error of a frame that is not the one that had to come."""
        if self.expecting == EXPECT_HEADER:
            text = f"content header for class {BASIC_CLASS}, got non content header"
        elif self.expecting == EXPECT_BODY:
            text = "content body, got non content body"
        else:
            text = "method frame, got non method"
        return AmqpError(ReplyCode.UNEXPECTED_FRAME, f"expected {text} frame instead")

    # --- publishing -------------------------------------------------------------------------

    def publish(self, data: bytes, start: i64, stop: i64) -> None:
        """basic.publish: `data[start:stop]` is the payload of its frame."""
        exchange = start + 6
        key = exchange + 1 + data[exchange] if exchange < stop else stop
        bits = key + 1 + data[key] if key < stop else stop
        if bits + 1 != stop:
            raise methods.undecodable(data[start:stop])
        flags = data[bits]
        if flags & 2:
            raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "immediate=true")
        self._raw_route = data[exchange:bits]
        self._mandatory = (flags & 1) != 0
        self.session.has_published = True
        self.expecting = EXPECT_HEADER

    def header(self, data: bytes, start: i64, stop: i64) -> None:
        """A content header frame with the payload `data[start:stop]`, whose size was checked."""
        if self.expecting != EXPECT_HEADER:
            raise self.unexpected()
        header = data[start:stop]
        if header != self._header:
            if read_i16_be(data, start + 2) != 0:
                raise self.unexpected()
            if read_i16_be(data, start) != BASIC_CLASS:
                raise AmqpError(
                    ReplyCode.UNEXPECTED_FRAME,
                    f"expected content header for class {BASIC_CLASS}, got one for class "
                    f"{int(read_i16_be(data, start)) & 0xFFFF} instead",
                )
            self._check_header(header)
        size = read_i64_be(header, 4)
        if size < 0 or size > self._message_bytes_max:
            self.expecting = EXPECT_METHOD
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"message size {int(size) & 0xFFFFFFFFFFFFFFFF} is larger than configured max "
                f"size {self._message_bytes_max}",
            )
        if size == 0:
            self._complete(b"")
        else:
            self._missing = size
            self.expecting = EXPECT_BODY

    def _check_header(self, header: bytes) -> None:
        """See that properties are well-formed before a consumer has to read them.

        Publishers mostly send the same properties again, so the last header is remembered.
        """
        try:
            flags = check_properties(header, HEADER_PREFIX_BYTES, len(header))
        except ValueError as error:
            raise AmqpError(ReplyCode.SYNTAX_ERROR, f"malformed properties: {error}") from None
        self._to_be_looked_at = is_to_be_examined(header, flags)
        self._examined = None
        self._persistent = delivery_mode(header, HEADER_PREFIX_BYTES, flags) == PERSISTENT
        self._header = header

    def body(self, data: bytes, start: i64, stop: i64) -> None:
        """A content body frame with the payload `data[start:stop]`."""
        if self.expecting != EXPECT_BODY:
            raise self.unexpected()
        missing = self._missing - (stop - start)
        if missing == 0 and not self._parts:
            self._complete(data[start:stop])
            return
        if missing < 0:
            raise AmqpError(
                ReplyCode.FRAME_ERROR,
                "content body frame exceeds remaining content size",
            )
        self._parts.append(data[start:stop])
        self._missing = missing
        if missing == 0:
            body = b"".join(self._parts)
            self._parts = []
            self._complete(body)

    def _complete(self, body: bytes) -> None:
        self.expecting = EXPECT_METHOD
        header = self._header
        route = self._route
        if route.stale or route.raw != self._raw_route:
            route = self._router.route(self._raw_route)
            self._route = route
        if self._to_be_looked_at:
            examined = self._examine(header)
            now = self._clock.now
            expires_at = now + examined.ttl if examined.ttl != NONE else 0
            message = Message(route.raw, examined.header, body, self._persistent, now, expires_at)
            if examined.keys:
                route = self._addressed(message, route, examined.keys)
        else:
            message = Message(route.raw, header, body, self._persistent, self._clock.now)
        before = self._kept_in
        if self.transaction is not None:
            if route.needs_message:
                route = self._addressed(message, route, [])
            self.transaction.publish(message, route, self._mandatory)
        elif not self.route_message(message, route, self._mandatory):
            self._refuse()
            return
        if self.confirming:
            if self._kept_in != before and before != 0:
                self._unsynced.append((int(self._published), int(before)))
            self._published += 1
            if not self._confirms_wait:
                self._confirms_wait = True
                self.session.confirm_at_flush(self)

    def _examine(self, header: bytes) -> Examined:
        """What came of examining the last header, which mostly comes again."""
        reply_to = self.deliveries.reply_to
        if self._examined is None or self._examined_for != reply_to:
            self._examined = examine(header, self.session.user, reply_to)
            self._examined_for = reply_to
        return self._examined

    def route_message(self, message: Message, route: Route, mandatory: bool) -> bool:
        """Publish a message to every sink of its route, or return it.

        :returns: False if a queue refused it.
        """
        sinks = route.sinks
        if route.needs_message:
            sinks = self._router.sinks_for(route.exchange, [route.routing_key], message)
        outcome = self._publisher.publish(message, sinks)
        if outcome & AWAITS_COMMIT:
            store = self._store
            if store is not None:
                self._kept_in = store.batch
        if outcome & THROTTLE:
            self.session.throttled = True
        if mandatory and not sinks:
            self._flush_confirms()
            write_return(self.session.output, self._wire_number, message, self.session.frame_max)
            self.session.request_flush()
        return outcome & REFUSED == 0

    def _refuse(self) -> None:
        """A queue refused what was published, which the publisher is told if it wants to know.

        The confirms of what it published before go out first, as far as they can.
        """
        if self.confirming:
            self._flush_confirms()
            self._published += 1
            if self._confirmed == self._published - 1:
                self._confirmed = self._published
            else:
                self._refused.add(int(self._published))
            write_nack(self.session.output, self._wire_number, self._published)
            self.session.request_flush()

    def _addressed(self, message: Message, route: Route, further_keys: list[str]) -> Route:
        """The route of this message only."""
        keys = [route.routing_key, *further_keys]
        sinks = self._router.sinks_for(route.exchange, keys, message)
        return Route(route.raw, route.exchange, route.routing_key, sinks, False)

    # --- acknowledging ----------------------------------------------------------------------

    def ack(self, data: bytes, start: i64, stop: i64) -> None:
        """basic.ack: `data[start:stop]` is the payload of its frame."""
        if stop - start != 13:
            raise methods.undecodable(data[start:stop])
        tag = read_i64_be(data, start + 4)
        if self.transaction is not None:
            self.settle(self._taken(tag, data[start + 12] & 1 != 0), ACKNOWLEDGED)
        elif data[start + 12] & 1:
            self._acknowledge(self.deliveries.take_until(tag))
        else:
            delivery = self.deliveries.take(tag)
            if delivery is None:
                return
            delivery.acknowledge()
            consumer = delivery.consumer
            if consumer is not None and (consumer.suspended or self.deliveries.prefetch != 0):
                self._reconsider(consumer)

    def reject(self, data: bytes, start: i64, stop: i64) -> None:
        """basic.reject: `data[start:stop]` is the payload of its frame."""
        if stop - start != 13:
            raise methods.undecodable(data[start:stop])
        tag = read_i64_be(data, start + 4)
        self.settle(self._taken(tag, False), FAILED if data[start + 12] & 1 else REJECTED)

    def nack(self, data: bytes, start: i64, stop: i64) -> None:
        """basic.nack: `data[start:stop]` is the payload of its frame."""
        if stop - start != 13:
            raise methods.undecodable(data[start:stop])
        tag = read_i64_be(data, start + 4)
        bits = data[start + 12]
        self.settle(self._taken(tag, bits & 1 != 0), RETURNED if bits & 2 else REJECTED)

    def _taken(self, tag: i64, multiple: bool) -> list[Delivery]:
        if multiple:
            return self.deliveries.take_until(tag)
        delivery = self.deliveries.take(tag)
        return [] if delivery is None else [delivery]

    def settle(self, taken: list[Delivery], outcome: Outcome) -> None:
        """Settle deliveries that were taken, at once or when the transaction commits."""
        if self.transaction is not None:
            self.transaction.settle(taken, outcome)
        elif outcome == ACKNOWLEDGED:
            self._acknowledge(taken)
        elif outcome == REJECTED:
            self._reject(taken)
        else:
            self.requeue(taken, failed=outcome == FAILED)

    def _acknowledge(self, taken: list[Delivery]) -> None:
        for delivery in taken:
            delivery.acknowledge()
        self._reconsider_all(taken)

    def _reject(self, taken: list[Delivery]) -> None:
        for delivery in taken:
            delivery.settle()
            delivery.queue.reject(delivery.message, delivery.position)
        self._reconsider_all(taken)

    def _reconsider_all(self, taken: list[Delivery]) -> None:
        """The consumers that had these deliveries have room again."""
        if self.deliveries.prefetch != 0:
            self.deliveries.reconsider_consumers()
            return
        for delivery in taken:
            consumer = delivery.consumer
            if consumer is not None and consumer.suspended:
                consumer.reconsider()

    def _reconsider(self, consumer: ChannelConsumer) -> None:
        """A consumer has room again; so have others, where they share the channel's prefetch."""
        if self.deliveries.prefetch != 0:
            self.deliveries.reconsider_consumers()
        else:
            consumer.reconsider()

    def requeue(self, taken: list[Delivery], *, failed: bool) -> None:
        """Give messages back to their queues, each to its old place.

        :param failed: whether somebody could not cope with them, rather than hand them back.
        """
        queues: dict[Queue, None] = {}
        for delivery in taken:
            delivery.settle()
            delivery.queue.requeue(delivery.message, delivery.position, failed)
            queues[delivery.queue] = None
        self.deliveries.reconsider_consumers()
        for queue in queues:
            queue.deliver_ready()

    def rollback(self, transaction: Transaction) -> None:
        """Forget what a transaction published; what it settled is unacknowledged again."""
        self.deliveries.put_back(
            [delivery for taken, _ in transaction.settled for delivery in taken]
        )

    # --- sending ----------------------------------------------------------------------------

    def send(self, method: Frame) -> None:
        """Send a method, behind the confirms of what was published before."""
        self._flush_confirms()
        self.session.write(methods.encode(method, self.number))

    def hold_until_defined(self) -> None:
        """What is sent from now on says that something durable is there, or gone."""
        definition_log = self.session.definition_log
        if definition_log is not None:
            self.session.hold_until(definition_log.defined, self.number, len(self.session.output))

    def hold_until_committed(self) -> None:
        """What is sent from now on says that what was done so far is kept."""
        store = self._store
        if store is not None and store.has_uncommitted():
            store.request_commit()
            self.session.hold_until(store.batch, self.number, len(self.session.output))

    def send_got(self, delivery: Delivery, redelivered: bool) -> None:
        """Send what basic.get fetched."""
        self._flush_confirms()
        write_get_ok(
            self.session.output,
            self._wire_number,
            delivery.tag,
            redelivered,
            delivery.message,
            delivery.queue.message_count(),
            self.session.frame_max,
        )
        self.session.request_flush()

    def _flush_confirms(self) -> None:
        if self._confirms_wait:
            self.write_confirms()

    def write_confirms(self) -> None:
        self._confirms_wait = False
        upto = self._published
        synced = self._synced()
        if self._kept_in > synced:
            # Of what the store has not made safe yet, only what came before is confirmed.
            upto = self._confirmed
            unsynced = self._unsynced
            while unsynced and unsynced[0][1] <= synced:
                upto = unsynced.popleft()[0]
            self._confirms_wait = True
            self.session.confirm_at_sync(self)
        else:
            self._unsynced.clear()
        last = upto
        if self._refused:
            while last > self._confirmed and int(last) in self._refused:
                last -= 1
            self._refused = {tag for tag in self._refused if tag > upto}
        waiting = last - self._confirmed
        if self.open:
            if waiting != 0:
                write_ack(self.session.output, self._wire_number, last, waiting != 1)
            self._confirmed = upto

    def _synced(self) -> i64:
        return 0 if self._store is None else self._store.synced

    # --- closing ----------------------------------------------------------------------------

    def discard(self) -> None:
        """End everything the channel has under way: consumers, deliveries, a transaction."""
        if self.transaction is not None:
            self.rollback(self.transaction)
            self.transaction = None
        self._parts = []
        queues = self.end_consumers()
        self.requeue(self.deliveries.take_all(), failed=True)
        for queue in queues:
            queue.deliver_ready()

    def end_consumers(self) -> list[Queue]:
        """End its consumers; what they hold stays unacknowledged.

        :returns: the queues they left, where others may be active now: to be pumped.
        """
        consumers = list(self.deliveries.consumers.values())
        self.deliveries.consumers = {}
        for consumer in consumers:
            consumer.end(self.vhost)
        return [consumer.queue for consumer in consumers]
