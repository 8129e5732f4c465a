"""A channel: publishes content, and owns what it confirms, delivers and settles.

Its parts are objects of their own: the content under way (content.py), publisher confirms
(confirms.py), what is delivered (deliveries.py), settling (settlement.py) and a transaction
(transaction.py). The hot methods, basic.publish, ack, nack and reject, are parsed there from their
octets; all others come decoded, through `handlers/`. A channel raises AmqpError for an error of its
peer, and its connection answers and closes what the code says.
"""

from typing import Final

from mypy_extensions import i16, i64
from pamqp.base import Frame

from leveret.config import Config
from leveret.engine.access.rights import WRITE
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.routes import Route
from leveret.engine.routing.sink import (
    ACCEPTED,
    AWAITS_COMMIT,
    AWAITS_TRANSACTION,
    REFUSED,
    THROTTLE,
    TOOK_LONG,
    Sink,
)
from leveret.engine.routing.walk import RouteWalk
from leveret.engine.values.counters import SMALL_BYTES_MAX, ChannelCounters, ExchangeCounters
from leveret.engine.values.message import Message, exchange_and_key
from leveret.engine.values.settings import NONE
from leveret.engine.values.text import text_of
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.limits import FAN_OUT_AT_ONCE, LARGE_BODY_BYTES_MIN
from leveret.protocol.channels.confirms import PublisherConfirms
from leveret.protocol.channels.content import IncomingContent
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import FAILED, Delivery
from leveret.protocol.channels.long_settlement import LongSettlement
from leveret.protocol.channels.published_properties import PropertyChecks
from leveret.protocol.channels.session import Session
from leveret.protocol.channels.settlement import Settlement
from leveret.protocol.channels.transaction import Transaction
from leveret.protocol.states import ChannelEvent, ChannelState, next_channel_state
from leveret.protocol.wire import methods
from leveret.protocol.wire.frames import wire_number, write_get_ok, write_return

NO_ROUTE: Final = Route(b"", "", "", [], False, ExchangeCounters())

QUICK_SINKS_MAX: Final = 8
"""Sinks of a route from which on the clock is read after a publish: some microseconds of work."""


class Channel:
    """One open channel of a connection, which owns it and passes it whole frames."""

    def __init__(self, session: Session, number: int, config: Config) -> None:
        self.session = session
        self.vhost: VirtualHost = session.vhost
        self.number: i64 = number
        self.state = ChannelState.OPEN
        self.open = True
        """Whether the state is OPEN, which is asked for every frame."""
        self.counters = ChannelCounters()
        """What has happened on it."""
        self.content = IncomingContent(session, config.amqp.max_message_size)
        self.confirms = PublisherConfirms(session, wire_number(number), self.counters)
        self.deliveries = Deliveries(session, number, self.counters)
        self.transaction = Transaction()
        self.settlement = Settlement(self.deliveries, self.transaction)
        self.prefetch = 0
        """Prefetch of consumers that are still to come: basic.qos without `global`."""
        retune = config.qos.retune
        self.prefetch_changes_consumers: bool = retune == "true" or (
            retune == "auto" and session.peer.follows_specification
        )
        """Whether basic.qos without `global` changes that of the present consumers, too."""
        self.consumer_timeout_ms: int = config.consumer.timeout
        """Milliseconds to settle a delivery, if no argument sets it; 0 is no limit."""
        self.consumers_max: int = config.amqp.consumers_per_channel
        """Consumers the channel may have; 0 is no limit."""
        self.last_queue = ""
        """The queue declared last on this channel, which an empty name means."""
        self._wire_number: i16 = wire_number(number)
        self._clock = session.vhost.clock
        self._time_slice = session.time_slice
        self._router = session.vhost.router
        self._publisher = session.vhost.publisher
        self._sizes = session.vhost.sizes
        self._store = session.store
        self._vhost_counters: ChannelCounters = session.vhost.counters
        session.vhost.memory.added({})
        self._property_checks = PropertyChecks()
        self._requeuing: LongSettlement | None = None
        """Returns what is unacknowledged to its queues, once the channel is closed."""
        self._route = NO_ROUTE
        """The route of the last message, which mostly is that of the next."""

    def move(self, event: ChannelEvent) -> None:
        """Change state.

        :raises AmqpError: if the event is not allowed in this state.
        """
        self.state = next_channel_state(self.state, event)
        self.open = self.state == ChannelState.OPEN
        self.confirms.closed = not self.open

    # --- publishing -------------------------------------------------------------------------

    def publish(self, body: bytes) -> bool:
        """Publish the content that is complete with this body, at once or at tx.commit.

        :returns: False if this took so long that the time slice is over, or goes on as the work of
            the session.
        """
        content = self.content
        route = self._route
        was_long = False
        if route.generation != self._router.generation or route.raw != content.raw_route:
            rights = self.session.rights
            if not rights.unrestricted:
                self._check_rights(content.raw_route)
            misses = self._router.misses
            route = self._router.route(content.raw_route, self._time_slice)
            if route.walk is not None:
                self.session.begin(_RouteFound(self, route, body))
                return False
            self._route = route
            was_long = self._router.misses != misses
        if content.needs_check:
            reply_to = self.deliveries.reply_to
            checked = self._property_checks.check(content.header, self.session.user_id, reply_to)
            if content.forget_large_header():
                self._property_checks.forget()
            now = self._clock.now
            expires_at = now + checked.ttl if checked.ttl != NONE else 0
            message = Message(route.raw, checked.header, body, content.persistent, now, expires_at)
            if checked.keys:
                return self._publish_addressed(message, route, checked.keys)
        else:
            message = Message(route.raw, content.header, body, content.persistent, self._clock.now)
        if route.needs_message:
            return self._publish_addressed(message, route, [])
        if self.transaction.selected or len(route.sinks) > QUICK_SINKS_MAX:
            return self.publish_along(message, route, content.mandatory)
        if len(body) >= LARGE_BODY_BYTES_MIN and route.sinks and content.persistent:
            return self._publish_large(message, route)
        outcome = self.route_message(message, route, content.mandatory)
        # As `confirm`, without a call: this is done for every message.
        confirms = self.confirms
        if confirms.enabled:
            if outcome & (REFUSED | AWAITS_TRANSACTION):
                self.confirm(outcome)
            else:
                confirms.published(outcome & AWAITS_COMMIT != 0)
        if was_long or outcome & (TOOK_LONG | AWAITS_TRANSACTION) != 0:
            return self.session.work is None and not self._time_slice.is_over_now()
        return True

    def _check_rights(self, raw_route: bytes) -> None:
        """Check the right to publish to an exchange, and to a topic exchange with this routing key.

        :raises AmqpError: ACCESS_REFUSED.
        """
        rights, router = self.session.rights, self._router
        if rights.may_publish(raw_route, router.generation):
            return
        octets, key_octets = exchange_and_key(raw_route)
        exchange = text_of(octets)
        rights.check_exchange(WRITE, exchange)
        if rights.has_topics and router.is_topic(exchange):
            rights.check_topic(WRITE, exchange, text_of(key_octets))
        rights.published(raw_route, router.generation)

    def _publish_large(self, message: Message, route: Route) -> bool:
        """Publish a persistent message with a large body; result as `publish`."""
        self.count_publish(message, route)
        outcome, ticket = self._publisher.publish_large(message, route.sinks)
        if outcome & THROTTLE:
            self.session.throttled_by = route.sinks
        if self.confirms.enabled and ticket != 0 and not outcome & (REFUSED | AWAITS_TRANSACTION):
            self.confirms.published_large(ticket)
        else:
            self.confirm(outcome)
        return self.session.work is None and not self._time_slice.is_over_now()

    def publish_again(self, route: Route, body: bytes) -> None:
        """Publish the content that is complete with this body, whose route was found meanwhile."""
        generation = route.generation
        # What was bound or deleted during the walk need not count for this message.
        route.generation = self._router.generation
        self._route = route
        self.publish(body)
        route.generation = generation

    def _publish_addressed(self, message: Message, route: Route, further_keys: list[str]) -> bool:
        """Publish a message whose sinks are those of this message only; result as `publish`."""
        keys = [route.routing_key, *further_keys]
        addressed = route.to([])
        addressed.observed_keys = None if self._router.observer is None else keys
        walk = self._router.walk(route.exchange, keys, message)
        mandatory = self.content.mandatory
        if not walk.run(self._time_slice):
            self.session.begin(_SinksFound(self, walk, message, addressed, mandatory))
            return False
        addressed.sinks = list(walk.reached)
        return self.publish_along(message, addressed, mandatory)

    def publish_along(self, message: Message, route: Route, mandatory: bool) -> bool:
        """Publish a message to the sinks of its route, at once or at tx.commit; result as
        `publish`."""
        if self.confirms.enabled and self._router.refuses(message, route):
            self.count_publish(message, route.to([]))
            self.confirm(REFUSED)
        elif self.transaction.selected:
            self.transaction.publish(message, route, mandatory)
        elif len(route.sinks) > FAN_OUT_AT_ONCE:
            self.count_publish(message, route)
            self._router.tell_of_client(message, route)
            self.session.begin(_FanOut(self, message, route.sinks))
            if self.session.work is not None:
                return False
        else:
            self.confirm(self.route_message(message, route, mandatory))
        return self.session.work is None and not self._time_slice.is_over_now()

    def confirm(self, outcome: i64) -> None:
        """Confirm or refuse the publish of this outcome, or have it wait for its batch, or for a
        transaction: that is work of the session."""
        confirms = self.confirms
        if confirms.enabled:
            if outcome & REFUSED:
                confirms.refused()
            elif outcome & AWAITS_TRANSACTION:
                self.session.begin(_ConfirmAfterTransaction(self))
            else:
                confirms.published(outcome & AWAITS_COMMIT != 0)

    def confirm_after_transaction(self) -> bool:
        """Confirm a publish when the transaction is durable that is being committed.

        :returns: False while it is not committed.
        """
        store = self._store
        if store is not None:
            if store.transaction.is_open():
                return False
            store.request_commit()
        self.confirms.published(True)
        return True

    def fan_out(self, message: Message, sinks: list[Sink]) -> i64:
        """Publish a message to some of its sinks.

        :returns: the outcome, as `Publisher.publish` does.
        """
        outcome = self._publisher.publish(message, [each for each in sinks if not each.deleted])
        if outcome & THROTTLE:
            self.session.throttled_by = sinks
        return outcome

    def commit_open_batch(self) -> None:
        """Have the batch of the store that is open now committed, for a confirm that waits for
        it."""
        if self._store is not None:
            self._store.request_commit()

    def route_message(self, message: Message, route: Route, mandatory: bool) -> i64:
        """Publish a message to every sink of its route, or return it.

        :returns: the outcome, as `Publisher.publish` does.
        """
        if route.observed_keys is not None:
            return self._route_observed(message, route, mandatory)
        sinks = route.sinks
        # As `count_publish`, without a call: this is done for every message.
        self.counters.publish += 1
        self._vhost_counters.publish += 1
        route.counters.publish_in += 1
        route.counters.publish_out += len(sinks)
        size: i64 = len(message.body)
        self._sizes.bytes += size
        if size > SMALL_BYTES_MAX:
            self._sizes.add_larger(size)
        outcome = self._publisher.publish(message, sinks)
        if outcome == ACCEPTED:
            return outcome
        if outcome & THROTTLE:
            self.session.throttled_by = sinks
        if not sinks:
            if self._clock.now >= route.counters.next_sample:
                route.counters.add_sample(route.routing_key, self._clock.now, mandatory)
            if mandatory:
                self._return(message, route)
            else:
                self.counters.drop_unroutable += 1
                self._vhost_counters.drop_unroutable += 1
                route.counters.drop_unroutable += 1
        return outcome

    def _route_observed(self, message: Message, route: Route, mandatory: bool) -> i64:
        """As `route_message`, and tell the observer."""
        self._router.tell_of_client(message, route)
        outcome = self.route_message(message, route.to(route.sinks), mandatory)
        if outcome & REFUSED:
            self._router.tell_refused(message)
        return outcome

    def count_publish(self, message: Message, route: Route) -> None:
        """Count the publish of a message, to all sinks of a route."""
        self.counters.publish += 1
        self._vhost_counters.publish += 1
        route.counters.publish_in += 1
        route.counters.publish_out += len(route.sinks)
        size: i64 = len(message.body)
        self._sizes.bytes += size
        if size > SMALL_BYTES_MAX:
            self._sizes.add_larger(size)

    def _return(self, message: Message, route: Route) -> None:
        """Return a message that no sink takes."""
        self.counters.return_unroutable += 1
        self._vhost_counters.return_unroutable += 1
        route.counters.return_unroutable += 1
        self.confirms.flush()
        session = self.session
        write_return(session.output, session.parts, self._wire_number, message, session.frame_max)
        session.request_flush()

    # --- sending ----------------------------------------------------------------------------

    def send(self, method: Frame) -> None:
        """Send a method, behind the confirms of what was published before."""
        self.confirms.flush()
        self.session.write(methods.encode(method, self.number))

    def send_get_ok(self, delivery: Delivery, redelivered: bool) -> None:
        """Send what basic.get fetched, behind the confirms of what was published before."""
        self.confirms.flush()
        session = self.session
        write_get_ok(
            session.output,
            session.parts,
            self._wire_number,
            delivery.tag,
            redelivered,
            delivery.message,
            delivery.queue.message_count(),
            session.frame_max,
        )
        session.request_flush()

    def hold_until_defined(self) -> None:
        """Hold what is sent from here on until the last definition that was written is synced.

        For a reply that reports a definition which an earlier method wrote (handlers/dispatch.py).
        """
        definition_log = self.session.definition_log
        if definition_log is not None:
            offset = self.session.output_size()
            self.session.hold_until(definition_log.awaited_batch, self.number, offset)

    def hold_until_committed(self) -> None:
        """Hold what is sent from here on until everything done so far is synced."""
        store = self._store
        if store is not None and store.has_uncommitted():
            store.request_commit()
            self.session.hold_until(store.batch, self.number, self.session.output_size())

    def hold_until_durable(self, batch: i64) -> None:
        """Hold what is sent from here on until a batch is synced."""
        self.session.hold_until(batch, self.number, self.session.output_size())

    # --- closing ----------------------------------------------------------------------------

    def end_consumer(self, queues: dict[Queue, None]) -> bool:
        """End one consumer. What is unacknowledged stays so.

        :param queues: its queue is added, where another consumer may be active instead: call its
            `deliver_ready` after the last requeue.
        :returns: False if there is none.
        """
        consumers = self.deliveries.consumers
        if not consumers:
            return False
        # The last first: of those that wait to be the single active one, none becomes it.
        _, consumer = consumers.popitem()
        self.vhost.memory.removed(consumer.arguments)
        consumer.end(self.vhost)
        queues[consumer.queue] = None
        return True

    def discard(self, time_slice: TimeSlice) -> bool:
        """End what is under way until the time slice is over: content, the transaction, deliveries.
        The consumers have ended.

        :returns: whether that is done. If not, call it again.
        """
        requeuing = self._requeuing
        if requeuing is None:
            self.content.discard()
            through = self.deliveries.check_through(0)
            requeuing = LongSettlement(self.deliveries, through, FAILED)
            self._requeuing = requeuing
        if not self.transaction.roll_back(self.deliveries, time_slice):
            return False
        if not requeuing.run(time_slice):
            return False
        self.vhost.memory.remove_delivering(self.deliveries)
        self.vhost.memory.removed({})
        return True


class _RouteFound(Work):
    """Finds the route of a message, and publishes it."""

    def __init__(self, channel: Channel, route: Route, body: bytes) -> None:
        self._channel = channel
        self._route = route
        self._body = body

    def run(self, time_slice: TimeSlice) -> bool:
        walk = self._route.walk
        if walk is not None and not walk.run(time_slice):
            return False
        self._channel.vhost.router.complete(self._route)
        self._channel.publish_again(self._route, self._body)
        return True


class _SinksFound(Work):
    """Finds the sinks of a message, and publishes it to them."""

    def __init__(
        self, channel: Channel, walk: RouteWalk, message: Message, route: Route, mandatory: bool
    ) -> None:
        """:param route: that of this message only, which gets the sinks."""
        self._channel = channel
        self._walk = walk
        self._message = message
        self._route = route
        self._mandatory = mandatory

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._walk.run(time_slice):
            return False
        self._route.sinks = list(self._walk.reached)
        self._channel.publish_along(self._message, self._route, self._mandatory)
        return True


class _FanOut(Work):
    """Publishes a message to very many sinks, `FAN_OUT_AT_ONCE` of them at a time.

    The log has an entry for each of these parts, and they may be in several batches. The confirm
    waits for the last one, so for all.
    """

    def __init__(self, channel: Channel, message: Message, sinks: list[Sink]) -> None:
        self._channel = channel
        self._message = message
        self._sinks = sinks
        self._next = 0
        self._outcome: i64 = 0

    def run(self, time_slice: TimeSlice) -> bool:
        channel = self._channel
        while self._next < len(self._sinks):
            part = self._sinks[self._next : self._next + FAN_OUT_AT_ONCE]
            self._next += FAN_OUT_AT_ONCE
            self._outcome |= channel.fan_out(self._message, part)
            if self._next < len(self._sinks) and time_slice.is_over_now():
                return False
        if self._outcome & REFUSED:
            channel.vhost.router.tell_refused(self._message)
        if self._outcome & AWAITS_COMMIT:
            channel.commit_open_batch()
        channel.confirm(self._outcome)
        return True


class _ConfirmAfterTransaction(Work):
    """Confirms a publish when the transaction is committed that it may be a duplicate of."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def run(self, time_slice: TimeSlice) -> bool:
        return self._channel.confirm_after_transaction()
