"""Counters: what has happened to queues, exchanges, channels and virtual hosts since the start.

They are what statistics and metrics are made of. The message path increments them and does nothing
else; rates, history and sums are made by who reads them. Rules:

- A counter never goes back. It begins at 0 with its object, and all of them with the process.
- Names are those of RabbitMQ's `message_stats` (RabbitMQ: HTTP API Reference); `deliver_get`, the
  sum of four of them, is a function.

Where they are:

- `Queue.counters` (of every `Sink`): `QueueCounters`.
- `Exchange.counters`, `Router.default_counters` of the default exchange: `ExchangeCounters`. What
  clients publish to the exchange itself is counted, as in RabbitMQ; not what comes to it through a
  binding, as a dead letter or when its delay is over.
- `Channel.counters`: `ChannelCounters`.
- `VirtualHost.counters`: `ChannelCounters` of all channels that it ever had. `Broker.counters()`
  has those of all virtual hosts, deleted ones included.
- `DeliveryConsumer.delivered`: deliveries to one consumer.
- `Broker.churn`: `ChurnCounters`. `Broker.gone`: `DeletedCounters`. `Broker.sizes`:
  `SizeCounters`.
- `Session.traffic`: `TrafficCounters` of one connection; `VirtualHost.closed_traffic` of those that
  have ended.
- `Queue.contents.drops`, None as long as there is nothing to count, and `VirtualHost.drops` of all
  queues that it ever had: `queues/drop_counters.py`.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.values.history import History

NEVER_SEEN: Final = -1

UNROUTABLE_SAMPLES_MAX: Final = 8
"""Unroutable messages that an exchange remembers: enough to see which routing keys are wrong."""

UNROUTABLE_SAMPLE_MS: Final = 1000
"""Milliseconds between two of them, so that a flood costs a comparison for each message."""


class Counted:
    """What is noted of an object that is sampled once a second (`management/statistics/`)."""

    def __init__(self) -> None:
        self.history: History | None = None
        """Its samples; None as long as nothing has happened."""
        self.seen: i64 = NEVER_SEEN
        """The sum of its counters when it was last looked at."""
        self.active_at: i64 = 0
        """When it was seen last that something had happened, or when it was first looked at; in
        milliseconds of the engine's clock, as all these times. 0 if it was never looked at."""
        self.unsampled = False
        """Whether something has happened since the last sample."""


class QueueCounters(Counted):
    """What has happened to the messages of one queue."""

    def __init__(self) -> None:
        super().__init__()
        self.seen_ready: i64 = 0
        self.seen_unacknowledged: i64 = 0
        """How many messages were ready and unacknowledged when it was last looked at."""
        self.utilisation: i64 = NEVER_SEEN
        """How often, of a thousand looks, consumers could have taken another message, the later
        looks counting more (RabbitMQ: Consumer Utilisation); `NEVER_SEEN` without consumers."""
        self.publish: i64 = 0
        """Messages that were routed to it, by clients or by the broker; refused ones and duplicates
        among them."""
        self.deliver: i64 = 0
        """Deliveries to consumers that acknowledge."""
        self.deliver_no_ack: i64 = 0
        """Deliveries to consumers that do not."""
        self.redeliver: i64 = 0
        """Those of all deliveries, basic.get included, that say `redelivered`."""
        self.get: i64 = 0
        """Messages that basic.get fetched, to be acknowledged."""
        self.get_no_ack: i64 = 0
        """Messages that basic.get fetched without acknowledgement."""
        self.get_empty: i64 = 0
        """basic.get that found no message."""
        self.ack: i64 = 0
        """Messages that were acknowledged."""


def queue_deliver_get(counters: QueueCounters) -> int:
    """Messages that went to clients, in whatever way."""
    delivered = counters.deliver + counters.deliver_no_ack
    return int(delivered + counters.get + counters.get_no_ack)


def queue_acknowledged(counters: QueueCounters) -> int:
    """Messages that clients have acknowledged, or got without having to."""
    return int(counters.ack + counters.deliver_no_ack + counters.get_no_ack)


class UnroutableSample:
    """One message that an exchange could not route."""

    def __init__(self, routing_key: str, time: i64, returned: bool) -> None:
        self.routing_key = routing_key
        self.time = time
        """When it was published, in milliseconds since the epoch."""
        self.returned = returned
        """Whether it was returned to its publisher, who had asked for that (`mandatory`)."""


NO_SAMPLES: Final[list[UnroutableSample]] = []
"""What most exchanges have; it is never changed."""


class ExchangeCounters(Counted):
    """What clients have published to one exchange."""

    def __init__(self) -> None:
        super().__init__()
        self.publish_in: i64 = 0
        """Messages."""
        self.publish_out: i64 = 0
        """Queues that they were routed to, summed over the messages."""
        self.return_unroutable: i64 = 0
        """Messages that reached no queue and were returned (`mandatory`)."""
        self.drop_unroutable: i64 = 0
        """Messages that reached no queue and were dropped."""
        self.samples = NO_SAMPLES
        """Some of the last messages that reached no queue, the newest last."""
        self.next_sample: i64 = 0
        """When the next one is to be added."""

    def add_sample(self, routing_key: str, now: i64, returned: bool) -> None:
        """Remember a message that reached no queue."""
        self.next_sample = now + UNROUTABLE_SAMPLE_MS
        earlier = self.samples[-UNROUTABLE_SAMPLES_MAX + 1 :]
        self.samples = [*earlier, UnroutableSample(routing_key, now, returned)]


class ChannelCounters(Counted):
    """What has happened on one channel, or on all channels of a virtual host."""

    def __init__(self) -> None:
        super().__init__()
        self.publish: i64 = 0
        """Messages that it published; those of a transaction when it commits."""
        self.confirm: i64 = 0
        """Publishes that were confirmed by basic.ack."""
        self.return_unroutable: i64 = 0
        """Messages that reached no queue and were returned."""
        self.drop_unroutable: i64 = 0
        """Messages that reached no queue and were dropped."""
        self.deliver: i64 = 0
        self.deliver_no_ack: i64 = 0
        self.redeliver: i64 = 0
        self.get: i64 = 0
        self.get_no_ack: i64 = 0
        self.get_empty: i64 = 0
        self.ack: i64 = 0
        """As in `QueueCounters`."""

    def add(self, other: "ChannelCounters") -> None:
        """Add what others have counted."""
        self.publish += other.publish
        self.confirm += other.confirm
        self.return_unroutable += other.return_unroutable
        self.drop_unroutable += other.drop_unroutable
        self.deliver += other.deliver
        self.deliver_no_ack += other.deliver_no_ack
        self.redeliver += other.redeliver
        self.get += other.get
        self.get_no_ack += other.get_no_ack
        self.get_empty += other.get_empty
        self.ack += other.ack


def channel_deliver_get(counters: ChannelCounters) -> int:
    """Messages that went to clients, in whatever way."""
    delivered = counters.deliver + counters.deliver_no_ack
    return int(delivered + counters.get + counters.get_no_ack)


class DeletedCounters:
    """What queues, exchanges and channels that are gone have counted, so that sums of a broker do
    not go back."""

    def __init__(self) -> None:
        self.publish: i64 = 0
        """As in `QueueCounters`."""
        self.publish_confirm: i64 = 0
        """Publishes that channels had to confirm."""
        self.publish_in: i64 = 0
        self.publish_out: i64 = 0
        self.return_unroutable: i64 = 0
        self.drop_unroutable: i64 = 0
        """As in `ExchangeCounters`."""

    def add_exchange(self, counters: ExchangeCounters) -> None:
        """An exchange was deleted."""
        self.publish_in += counters.publish_in
        self.publish_out += counters.publish_out
        self.return_unroutable += counters.return_unroutable
        self.drop_unroutable += counters.drop_unroutable


SIZE_BOUNDS: Final = (
    100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000,
)  # fmt: skip
"""Bytes: the largest body of each class of sizes but the last (RabbitMQ: `message_size_bytes`)."""


SMALL_BYTES_MAX: Final[i64] = 100
"""Bytes of the first class."""


class SizeCounters:
    """How large the bodies of messages are that clients publish."""

    def __init__(self) -> None:
        self.bytes: i64 = 0
        """Bytes of all of them."""
        self._middle: i64 = 0
        """Messages of the second class. Those of the first one are the others that were published:
        they cost nothing."""
        self._large = [0] * (len(SIZE_BOUNDS) - 1)
        """Those of each class above it."""

    def add_larger(self, size: i64) -> None:
        """Count a message that is larger than `SMALL_BYTES_MAX`, beside its bytes."""
        if size <= 1000:
            self._middle += 1
        else:
            self._large[bisect_left(SIZE_BOUNDS, int(size)) - 2] += 1

    def counts(self, published: int) -> list[int]:
        """Messages of each class.

        :param published: all that clients have published.
        """
        larger = [int(self._middle), *self._large]
        return [published - sum(larger), *larger]


class ChurnCounters:
    """What came and went in a broker (RabbitMQ: HTTP API Reference, `churn_rates`)."""

    def __init__(self) -> None:
        self.connection_created: i64 = 0
        self.connection_closed: i64 = 0
        self.channel_created: i64 = 0
        self.channel_closed: i64 = 0
        self.queue_declared: i64 = 0
        """Declarations that were accepted, of queues that existed already, too."""
        self.queue_created: i64 = 0
        self.queue_deleted: i64 = 0


def _nothing() -> int:
    return 0


class TrafficCounters(Counted):
    """What one connection has received and sent, since it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.recv_oct: i64 = 0
        """Octets received."""
        self.recv_cnt: i64 = 0
        """Reads of the socket."""
        self.send_oct: i64 = 0
        """Octets sent, or to be sent as soon as the peer reads."""
        self.send_cnt: i64 = 0
        """Writes to the socket."""
        self.pending: Callable[[], int] = _nothing
        """Returns the octets that the peer has not read yet, as far as the broker knows
        (RabbitMQ: `send_pend`)."""

    def received(self, octets: i64) -> None:
        """Count a read."""
        self.recv_oct += octets
        self.recv_cnt += 1

    def sent(self, octets: i64) -> None:
        """Count a write."""
        self.send_oct += octets
        self.send_cnt += 1

    def add(self, other: "TrafficCounters") -> None:
        """Add what another connection has counted."""
        self.recv_oct += other.recv_oct
        self.recv_cnt += other.recv_cnt
        self.send_oct += other.send_oct
        self.send_cnt += other.send_cnt
