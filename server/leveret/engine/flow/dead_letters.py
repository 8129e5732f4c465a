"""Dead letters: messages that a queue is done with, and that go on to an exchange.

RabbitMQ: Dead Letter Exchanges. The message is settled in its queue and published to the others in
one turn, so that both are in one batch of the log: whatever happens in between, the message is in
one place, and only there. Dropped is what has nowhere to go, as on RabbitMQ, and what would go
round for ever: back to a queue that it left for another reason than that somebody rejected it.

A queue may make a dead letter of one message because another is published to it. It waits until
that one is kept, as it may go to a queue that the other one went to, too. Dead letters that make
others die where they arrive let these wait in the same way, so a long chain of queues is no deep
recursion.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from leveret.engine.flow.persist import persist
from leveret.engine.queues.queue import REFUSED, Queue
from leveret.engine.queues.queue_host import REJECTED
from leveret.engine.queues.redelivery import ACQUIRED_COUNT, DELIVERY_COUNT
from leveret.engine.values import properties
from leveret.engine.values.message import Message, short_strings
from leveret.engine.values.settings import QueueSettings
from leveret.limits import X_DEATH_ENTRIES_MAX

if TYPE_CHECKING:
    from leveret.engine.vhost import VirtualHost

DEATHS: Final = b"x-death"

COUNT_MAX: Final = 2**63 - 1
"""What a count can say. One that a client wrote may say that already."""


class _Dead:
    """A message that waits for its turn, and where it comes from."""

    def __init__(
        self, queue: str, settings: QueueSettings, message: Message, reason: bytes
    ) -> None:
        self.queue = queue
        self.settings = settings
        self.message = message
        self.reason = reason


class DeadLetters:
    """What becomes of the dead letters of one virtual host."""

    def __init__(self, vhost: "VirtualHost") -> None:
        self.lost: dict[str, int] = {}
        """How many had nowhere to go, by the name of the queue that they came from, since somebody
        took note and cleared it."""
        self._vhost = vhost
        self.waiting = False
        """Whether there are any to pass on."""
        self._waiting: deque[_Dead] = deque()
        self._at_work = False
        self._last: _Epitaph | None = None

    def add(self, queue: str, settings: QueueSettings, message: Message, reason: bytes) -> None:
        """Take on a message that its queue has settled."""
        self._waiting.append(_Dead(queue, settings, message, reason))
        self.waiting = True

    def pass_on(self) -> None:
        """Pass on all that wait, and those that die of it."""
        if self._at_work:
            return
        self._at_work = True
        while self._waiting:
            self._pass_on(self._waiting.popleft())
        self._at_work = False
        self.waiting = False

    def _pass_on(self, dead: _Dead) -> None:
        message, vhost = dead.message, self._vhost
        now = vhost.clock.now
        epitaph = self._last
        if epitaph is None or not epitaph.fits(dead, now // 1000):
            epitaph = _Epitaph(dead, now // 1000)
            self._last = epitaph
        passed_on = Message(
            epitaph.new_route, epitaph.new_header, message.body, message.persistent, now
        )
        queues: list[Queue] = []
        if epitaph.deaths <= X_DEATH_ENTRIES_MAX:
            queues = vhost.queues_within(epitaph.exchange, epitaph.keys, passed_on)
        for queue in queues:
            if queue.name in epitaph.left:
                queues = [each for each in queues if each.name not in epitaph.left]
                break
        reached = False
        for queue in queues:
            if queue.publish(passed_on) != REFUSED:
                reached = True
        if not reached:
            self.lost[dead.queue] = self.lost.get(dead.queue, 0) + 1
        if vhost.definition_log is not None:
            persist(vhost.definition_log.store, passed_on, queues)


class _Epitaph:
    """What is written on a dead letter, and where it goes.

    Messages that die one behind the other in a queue mostly have the same header and route, so the
    last epitaph is likely to fit the next one.
    """

    def __init__(self, dead: _Dead, now_s: i64) -> None:
        message, settings = dead.message, dead.settings
        self._queue = dead.queue
        self._settings = settings
        self._reason = dead.reason
        self._header = message.header
        self._route = message.route
        self._now_s = now_s
        length = message.route[0]
        exchange, key = message.route[1 : 1 + length], message.route[2 + length :]
        keys = [key, *copies(message.header)]
        changes, path = _deaths(dead, exchange, keys, int(now_s))
        self.deaths = len(path)
        """How many queues and reasons are written on it."""
        self.left = _left(path)
        """The queues that it may not come back to."""
        new_key = settings.dead_letter_routing_key
        if new_key is not None:
            keys = [new_key.encode("utf-8", "surrogateescape")]
            changes[b"CC"] = None
        if settings.counts_deliveries:
            # They say how often it came back to the queue that it leaves.
            changes[DELIVERY_COUNT] = None
            changes[ACQUIRED_COUNT] = None
        self.keys = keys
        self.exchange = (settings.dead_letter_exchange or "").encode("utf-8", "surrogateescape")
        self.new_route = short_strings(self.exchange, keys[0])
        header = properties.without_expiration(message.header)
        self.new_header = properties.with_headers(header, changes)

    def fits(self, dead: _Dead, now_s: i64) -> bool:
        """Whether it is that of another message, too."""
        return (
            self._now_s == now_s
            and self._header == dead.message.header
            and self._route == dead.message.route
            and self._settings is dead.settings
            and self._reason == dead.reason
            and self._queue == dead.queue
        )


def copies(header: bytes) -> list[bytes]:
    """The routing keys in the header CC."""
    value = properties.header_value(header, b"CC")
    if value is None:
        return []
    return [properties.text_of(each) for each in properties.array_values(value)]


def _deaths(
    dead: _Dead, exchange: bytes, keys: list[bytes], now_s: int
) -> tuple[dict[bytes, bytes | None], list[tuple[bytes, bytes]]]:
    """The headers that say how a message died, and the way it has come: queues and reasons, the
    newest first."""
    header = dead.message.header
    queue = dead.queue.encode("utf-8", "surrogateescape")
    before = properties.array_values(properties.header_value(header, DEATHS) or b"")
    deaths: list[bytes] = []
    path = [(queue, dead.reason)]
    count = 1
    known: list[tuple[bytes, bytes]] | None = None
    for death in before:
        entries = properties.table_entries(death)
        fields = dict(entries)
        at = properties.text_of(fields.get(b"queue", b""))
        reason = properties.text_of(fields.get(b"reason", b""))
        if known is None and at == queue and reason == dead.reason:
            known = entries
            count = min(properties.integer_of(fields.get(b"count", b"")), COUNT_MAX - 1) + 1
        else:
            deaths.append(death)
            path.append((at, reason))
    counted = (b"count", properties.long_integer(count))
    if known is not None:
        newest = [counted, *(entry for entry in known if entry[0] != b"count")]
    else:
        newest = [
            counted,
            (b"reason", properties.long_string(dead.reason)),
            (b"queue", properties.long_string(queue)),
            (b"time", properties.timestamp(now_s)),
            (b"exchange", properties.long_string(exchange)),
            (b"routing-keys", properties.array([properties.long_string(key) for key in keys])),
        ]
        expiration = properties.expiration(header)
        if expiration is not None:
            newest.append((b"original-expiration", properties.long_string(expiration)))
    changes: dict[bytes, bytes | None] = {
        DEATHS: properties.array([properties.table(newest), *deaths])
    }
    told = (
        (b"exchange", properties.long_string(exchange)),
        (b"queue", properties.long_string(queue)),
        (b"reason", properties.long_string(dead.reason)),
    )
    is_first = properties.header_value(header, DEATHS) is None
    for name, value in told:
        if is_first:
            changes[b"x-first-death-" + name] = value
        changes[b"x-last-death-" + name] = value
    return changes, path


def _left(path: list[tuple[bytes, bytes]]) -> set[str]:
    """The queues that a message may not come back to: nobody has rejected it since it left them."""
    left: set[str] = set()
    for queue, reason in path:
        if reason == REJECTED:
            break
        left.add(queue.decode("utf-8", "surrogateescape"))
    return left
