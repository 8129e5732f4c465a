"""A queue: messages in order, handed to its consumers.

Rules:
- A message's position is its place in the order of arrival. Messages leave in that order, so
  whatever comes back (rejected, or unacknowledged when its channel closed) lies before all that
  has not left yet: a heap of what was returned, and a first-in-first-out backlog behind it.
- While a consumer is ready nothing waits, so a message that arrives then goes straight through.
- In a durable queue the store is told of every position that is done with.
- Which consumer a message goes to is the affair of `Turns`.
"""

from heapq import heappop, heappush

from mypy_extensions import i64

from leveret.engine.arguments import SINGLE_ACTIVE_CONSUMER, Arguments
from leveret.engine.backlog import Backlog
from leveret.engine.consumer import Consumer
from leveret.engine.exchanges.base import Destination
from leveret.engine.message import Message
from leveret.engine.turns import Turns
from leveret.limits import HELD_BACKLOG_MESSAGES
from leveret_storage.queue_log import QueueLog
from leveret_storage.recovery import Loose, RecoveredQueue
from leveret_storage.store import Store


class Queue(Destination):
    """A named queue of one virtual host, owned by it."""

    def __init__(
        self,
        name: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
        arguments: Arguments | None = None,
    ) -> None:
        super().__init__(name, durable)
        self.auto_delete = auto_delete
        self.owner = owner
        """The connection an exclusive queue belongs to; None for a shared one."""
        self.arguments = arguments if arguments is not None else Arguments({}, {})
        self.unacknowledged: i64 = 0
        self.deleted = False
        self.log: QueueLog | None = None
        """What the store keeps of a durable queue; None for one that ends with the process."""
        self.last_position: i64 = -1
        """The position of the message published last."""
        self._turns = Turns(self.arguments.get(SINGLE_ACTIVE_CONSUMER) is True)
        self._backlog = Backlog(self.pump)
        self._returned: list[tuple[int, Message]] = []
        self._held_at: i64 = -1
        """The position that had left last when a publisher was told that it is too fast: while
        nothing has left since, slowing it down would help nobody."""

    def keep(self, store: Store, log: QueueLog | None) -> None:
        """Use a store: for what does not fit into memory and, with `log`, for what is durable."""
        self.log = log
        self._backlog.store = store
        self._backlog.log = log

    def restore(self, found: RecoveredQueue) -> None:
        """Take in what a start found."""
        backlog = self._backlog
        for item in found.contents:
            if isinstance(item, Loose):
                backlog.restore(item.first, item.messages)
            else:
                backlog.restore_run(item)
        backlog.next = found.next_position
        backlog.read_ahead()

    @property
    def exclusive(self) -> bool:
        """Whether it is usable by the connection that declared it only."""
        return self.owner is not None

    @property
    def consumers(self) -> list[Consumer]:
        """Everybody who consumes from it, in the order in which they came."""
        return self._turns.consumers

    @property
    def exclusively_consumed(self) -> bool:
        """Whether a consumer asked to be the only one."""
        return self._turns.exclusive

    @property
    def single_active(self) -> bool:
        """Whether one of its consumers is active at a time, and the others wait."""
        return self._turns.single_active

    def message_count(self) -> i64:
        """Messages ready to be delivered (RabbitMQ: `messages_ready`)."""
        return self._backlog.count + len(self._returned)

    def publish(self, message: Message) -> bool:
        """Put a message behind all others, or hand it to the next ready consumer.

        :returns: False if it came too fast: many wait, and consumers are working on them, or the
            disk does not keep up.
        """
        backlog = self._backlog
        store = backlog.store
        too_fast = store is not None and store.is_behind()
        self.last_position = backlog.next
        if backlog.count == 0 and self._turns.ready and not self._returned:
            consumer = self._turns.next()
            if consumer is not None:
                position = backlog.next
                backlog.next = position + 1
                backlog.popped = position
                consumer.deliver(message, position, False)
                return not too_fast
        backlog.append(message)
        if too_fast:
            return False
        if backlog.count < HELD_BACKLOG_MESSAGES or backlog.popped == self._held_at:
            return True
        self._held_at = backlog.popped
        return False

    def pump(self) -> None:
        """Hand out messages for as long as there are any and a consumer takes them."""
        backlog = self._backlog
        turns = self._turns
        while turns.ready and (self._returned or backlog.available()):
            consumer = turns.next()
            if consumer is None:
                return
            if self._returned:
                position, message = heappop(self._returned)
                consumer.deliver(message, position, True)
            else:
                message = backlog.pop()
                consumer.deliver(message, backlog.popped, False)

    def take(self) -> tuple[Message, int, bool] | None:
        """The next message, its position, and whether it was delivered before (basic.get)."""
        if self._returned:
            position, message = heappop(self._returned)
            return message, position, True
        backlog = self._backlog
        if backlog.count == 0:
            return None
        backlog.load_now()
        message = backlog.pop()
        return message, backlog.popped, False

    def done(self, position: i64) -> None:
        """A message that was taken is not given back: it need not be kept any more."""
        log = self._backlog.log
        if log is not None:
            log.settle(position)

    def give_back(self, message: Message, position: i64) -> None:
        """Put a message that was taken back to its old place. Call `pump` when all are back."""
        if not self.deleted:
            heappush(self._returned, (position, message))

    def purge(self) -> i64:
        """Drop every ready message.

        :returns: how many there were.
        """
        count = self.message_count()
        backlog = self._backlog
        if backlog.log is not None:
            backlog.log.settle_range(backlog.first(), backlog.next)
        for position, _ in self._returned:
            self.done(position)
        backlog.clear()
        self._returned.clear()
        return count

    def add_consumer(self, consumer: Consumer) -> None:
        """Let a consumer take its turns, from now on."""
        self._turns.add(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Give a consumer no more messages; those it holds stay with its channel.

        Another may be active now: call `pump` when all that comes back is back.
        """
        self._turns.remove(consumer)

    def unpark(self, consumer: Consumer) -> None:
        """Let a consumer that may have room again take its turns again."""
        if consumer.parked and not self.deleted:
            self._turns.unpark(consumer)
            self.pump()

    def delete(self) -> None:
        """Drop all messages, and tell the consumers."""
        backlog = self._backlog
        backlog.clear()
        self._returned.clear()
        self.deleted = True
        if backlog.store is not None and backlog.log is not None:
            backlog.store.drop_queue(backlog.log)
            backlog.log = None
            self.log = None
        self._turns.end()
