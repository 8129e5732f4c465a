"""The rewrite of a dead letter: its headers and its route (RabbitMQ: Dead Letter Exchanges).

The headers say how it died: `x-death` counts deaths by queue and reason, the newest first;
`x-first-death-*` and `x-last-death-*` name the first and the last. Everything else in its content
header stays as it is, but for the expiration, which is removed.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.dead_letter import DEATHS, REJECTED, DeadLetter
from leveret.engine.queues.redelivery import ACQUIRED_COUNT, DELIVERY_COUNT
from leveret.engine.values import properties
from leveret.engine.values.message import exchange_and_key, short_strings
from leveret.engine.values.text import octets_of_text, text_of

COUNT_MAX: Final = 2**63 - 1
"""The largest count that fits into a header. A client may have written one that large."""


class DeadLetterRewrite:
    """The content header and the route that a dead letter is published with.

    Messages that die one after the other in a queue mostly have the same header and route, so the
    last rewrite mostly `matches` the next one.
    """

    def __init__(self, dead_letter: DeadLetter, now_s: i64) -> None:
        message, settings = dead_letter.message, dead_letter.settings
        self._queue = dead_letter.queue
        self._settings = settings
        self._reason = dead_letter.reason
        self._header = message.header
        self._route = message.route
        self._now_s = now_s
        exchange, key = exchange_and_key(message.route)
        keys = [key, *properties.copy_keys(message.header)]
        changes, path = _deaths(dead_letter, exchange, keys, int(now_s))
        self.deaths = len(path)
        """Number of entries in `x-death`."""
        self.queues_not_to_revisit = _queues_since_rejected(path)
        """The names of the queues that it must not be published to again, so that it does not
        cycle."""
        new_key = settings.dead_letter_routing_key
        if new_key is not None:
            keys = [octets_of_text(new_key)]
            changes[b"CC"] = None
        if settings.counts_deliveries:
            # These counts are of the queue in which it died.
            changes[DELIVERY_COUNT] = None
            changes[ACQUIRED_COUNT] = None
        self.keys = keys
        self.exchange = octets_of_text(settings.dead_letter_exchange or "")
        self.new_route = short_strings(self.exchange, keys[0])
        header = properties.without_expiration(message.header)
        self.new_header = properties.with_headers(header, changes)

    def matches(self, dead_letter: DeadLetter, now_s: i64) -> bool:
        """Whether another dead letter is rewritten to the same header and route."""
        return (
            self._now_s == now_s
            and self._header == dead_letter.message.header
            and self._route == dead_letter.message.route
            and self._settings is dead_letter.settings
            and self._reason == dead_letter.reason
            and self._queue == dead_letter.queue
        )


def _deaths(
    dead_letter: DeadLetter, exchange: bytes, keys: list[bytes], now_s: int
) -> tuple[dict[bytes, bytes | None], list[tuple[bytes, bytes]]]:
    """The headers that say how a message died, and its path: queues and reasons, newest first."""
    header = dead_letter.message.header
    queue = octets_of_text(dead_letter.queue)
    before = properties.array_values(properties.header_value(header, DEATHS) or b"")
    deaths: list[bytes] = []
    path = [(queue, dead_letter.reason)]
    count = 1
    known: list[tuple[bytes, bytes]] | None = None
    for death in before:
        entries = properties.table_entries(death)
        fields = dict(entries)
        died_in = properties.string_octets(fields.get(b"queue", b""))
        reason = properties.string_octets(fields.get(b"reason", b""))
        if known is None and died_in == queue and reason == dead_letter.reason:
            known = entries
            count = min(properties.integer_of(fields.get(b"count", b"")), COUNT_MAX - 1) + 1
        else:
            deaths.append(death)
            path.append((died_in, reason))
    counted = (b"count", properties.long_integer(count))
    if known is not None:
        newest = [counted, *(entry for entry in known if entry[0] != b"count")]
    else:
        newest = [counted, *_first_of_its_kind(dead_letter, queue, exchange, keys, now_s)]
    changes: dict[bytes, bytes | None] = {
        DEATHS: properties.array([properties.table(newest), *deaths])
    }
    is_first = properties.header_value(header, DEATHS) is None
    for name, value in (
        (b"exchange", exchange),
        (b"queue", queue),
        (b"reason", dead_letter.reason),
    ):
        if is_first:
            changes[b"x-first-death-" + name] = properties.long_string(value)
        changes[b"x-last-death-" + name] = properties.long_string(value)
    return changes, path


def _first_of_its_kind(
    dead_letter: DeadLetter, queue: bytes, exchange: bytes, keys: list[bytes], now_s: int
) -> list[tuple[bytes, bytes]]:
    """The entry of `x-death` for the first death in a queue for a reason, without its count."""
    entries = [
        (b"reason", properties.long_string(dead_letter.reason)),
        (b"queue", properties.long_string(queue)),
        (b"time", properties.timestamp(now_s)),
        (b"exchange", properties.long_string(exchange)),
        (b"routing-keys", properties.array([properties.long_string(key) for key in keys])),
    ]
    expiration = properties.expiration(dead_letter.message.header)
    if expiration is not None:
        entries.append((b"original-expiration", properties.long_string(expiration)))
    return entries


def _queues_since_rejected(path: list[tuple[bytes, bytes]]) -> set[str]:
    """The queues in which a message died since a consumer last rejected it."""
    queues: set[str] = set()
    for queue, reason in path:
        if reason == REJECTED:
            break
        queues.add(text_of(queue))
    return queues
