"""What an exchange or a queue has seen lately, it takes once."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.routing.exchanges.types import create
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.deduplication import (
    KEY_BYTES,
    KEYS_DEFAULT,
    KEYS_MAX,
    DeduplicationWindow,
)
from leveret.engine.values.field_table import Table
from leveret.engine.values.properties import long_integer, long_string
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.wire.methods import encode_header
from tests.unit.engine.queues.broker_run import START, BrokerRun, leading_to

HEADER = "x-deduplication-header"


def keyed(key: object, **headers: object) -> Basic.Properties:
    """Properties with a key."""
    table = {HEADER: key, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Basic.Properties(headers=table)  # type: ignore[arg-type]


def header(value: bytes) -> bytes:
    """A content header with a key, whose value begins with its type letter."""
    table = bytes([len(HEADER)]) + HEADER.encode() + value
    return bytes(12) + b"\x20\x00" + len(table).to_bytes(4, "big") + table


def queue_arguments(**arguments: object) -> Arguments:
    """The arguments of a queue that deduplicates."""
    values = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    values["x-message-deduplication"] = True
    types = {
        name: {bool: "bool", int: "signedint", str: "longstr"}[type(value)]
        for name, value in values.items()
    }
    return Arguments(values, types)  # type: ignore[arg-type]


class Place:
    """Something that deduplicates, and a queue to look at."""

    def __init__(self, kind: str, **arguments: object) -> None:
        self.run = BrokerRun()
        self.exchange = "amq.fanout"
        if kind == "exchange":
            values: Table = {
                f"x-{name.replace('_', '-')}": value  # type: ignore[misc]
                for name, value in arguments.items()
            }
            self.exchange = "once"
            self.run.exchange("once", "x-message-deduplication", values)
            self.run.queue("q", "once")
        else:
            self.run.queue("q", "amq.fanout", arguments=queue_arguments(**arguments))

    def publish(self, key: object, body: bytes = b"", **headers: object) -> bool:
        """Publish a message with a key; whether it was routed."""
        return self.run.publish(self.exchange, "", body, keyed(key, **headers))

    def count(self) -> int:
        """Messages in the queue, which is empty then."""
        return len(self.run.take_all("q"))

    def window(self) -> DeduplicationWindow:
        """What it has seen."""
        exchange = self.run.vhost.exchanges[self.exchange]
        if isinstance(exchange, DeduplicatingExchange):
            return exchange.window
        window = self.run.vhost.queues["q"].deduplication_window
        assert window is not None
        return window


KINDS = pytest.mark.parametrize("kind", ["exchange", "queue"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"I\x00\x00\x00\x05", b"b\x05", True),
        (b"I\x00\x00\x00\x05", long_integer(5), True),
        (b"I\xff\xff\xff\xff", b"b\xff", True),
        (b"I\x00\x00\x00\x05", long_string(b"5"), False),
        (b"t\x01", b"b\x01", False),
        (long_string(b"a"), long_string(b"a"), True),
        (long_string(b"a"), long_string(b"A"), False),
        (long_string(b"a" * 1000), long_string(b"a" * 1000), True),
        (long_string(b"a" * 1000), long_string(b"a" * 999 + b"b"), False),
        (long_string(b""), long_string(b""), True),
        (b"d" + bytes(8), b"f" + bytes(4), False),
        (b"T" + bytes(8), b"T" + bytes(8), True),
    ],
)
def test_keys_are_equal_by_type_and_value_and_integers_by_value(
    one: bytes, other: bytes, same: bool
) -> None:
    window = DeduplicationWindow()
    keys = window.key_of(header(one)), window.key_of(header(other))
    assert None not in keys
    assert (keys[0] == keys[1]) == same


@pytest.mark.parametrize("value", [b"V", b"F\x00\x00\x00\x00", b"A\x00\x00\x00\x00"])
def test_what_is_no_single_value_is_no_key(value: bytes) -> None:
    assert DeduplicationWindow().key_of(header(value)) is None


def test_a_message_without_the_header_has_no_key() -> None:
    assert DeduplicationWindow().key_of(encode_header(Basic.Properties(), 0)) is None
    assert DeduplicationWindow(header="other").key_of(header(long_string(b"a"))) is None


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), max_size=80),
    st.integers(1, 8),
    st.one_of(st.just(-1), st.integers(1, 40)),
)
def test_a_window_is_a_list_of_the_last_keys(
    seen: list[tuple[int, int]], size: int, ttl: int
) -> None:
    window = DeduplicationWindow(size, ttl)
    added_at: OrderedDict[int, int] = OrderedDict()
    now = START
    for number, passed in seen:
        now += passed
        key = window.key_of(header(long_integer(number)))
        assert key is not None
        if number in added_at and ttl != -1 and added_at[number] + ttl <= now:
            del added_at[number]
        assert window.has(key, now) == (number in added_at)
        if number not in added_at:
            window.add(key, header(long_integer(number)), now)
            added_at[number] = now
            if len(added_at) > size:
                added_at.popitem(last=False)
    assert len(window.entries()) <= size


class TestPlaces:
    @KINDS
    def test_a_duplicate_is_taken_once_and_counted(self, kind: str) -> None:
        place = Place(kind)
        assert place.publish("a")
        assert place.publish("a"), "it counts as routed"
        assert place.publish("b")
        assert place.count() == 2
        assert place.window().duplicates == 1

    @KINDS
    def test_a_key_counts_when_its_message_is_gone(self, kind: str) -> None:
        place = Place(kind)
        place.publish("a")
        assert place.count() == 1
        place.publish("a")
        assert place.count() == 0

    @KINDS
    def test_messages_without_a_key_are_all_taken(self, kind: str) -> None:
        place = Place(kind)
        for _ in range(3):
            place.run.publish(place.exchange, "", b"", Basic.Properties(headers={"a": 1}))
        assert place.count() == 3

    @KINDS
    def test_the_oldest_key_goes_first(self, kind: str) -> None:
        place = Place(kind, cache_size=2)
        for key in ("a", "b", "c", "b", "a"):
            place.publish(key)
        assert place.count() == 4

    @KINDS
    def test_a_window_has_so_many_keys_where_nobody_says(self, kind: str) -> None:
        place = Place(kind)
        for key in range(KEYS_DEFAULT + 1):
            place.publish(key)
        assert place.count() == KEYS_DEFAULT + 1
        place.publish(1)
        assert place.count() == 0
        place.publish(0)
        assert place.count() == 1

    @KINDS
    def test_a_key_counts_for_so_long(self, kind: str) -> None:
        place = Place(kind, cache_ttl=1000)
        place.publish("a")
        place.publish("b", x_cache_ttl=5000)
        place.run.advance_to(START + 999)
        place.publish("a")
        assert place.count() == 2
        place.run.advance_to(START + 1000)
        place.publish("a")
        place.publish("b")
        assert place.count() == 1
        place.run.advance_to(START + 5000)
        place.publish("b")
        assert place.count() == 1

    @KINDS
    def test_another_header_can_have_the_key(self, kind: str) -> None:
        place = Place(kind, deduplication_header="id")
        for number in (1, 1, 2):
            properties = Basic.Properties(headers={"id": number, HEADER: "same"})
            place.run.publish(place.exchange, "", b"", properties)
        assert place.count() == 2

    @KINDS
    @pytest.mark.parametrize("power", [False, True])
    def test_what_was_seen_is_known_after_a_crash(self, kind: str, power: bool) -> None:
        place = Place(kind, cache_size=3, cache_ttl=10_000)
        for key in ("gone", "a", 5, "c"):
            place.publish(key)
        assert place.count() == 4
        place.run.run_all()
        place.run = place.run.restart(power=power)
        # Twice, as the next run knows it from a checkpoint.
        place.run.run_all()
        place.run = place.run.restart(power=power)
        for key in ("a", 5, "c"):
            place.publish(key)
        assert place.count() == 0
        place.publish("gone")
        assert place.count() == 1
        place.run.advance_to(START + 10_000)
        place.publish("c")
        assert place.count() == 1

    @KINDS
    def test_the_key_of_a_message_that_was_not_kept_is_not_kept(self, kind: str) -> None:
        place = Place(kind)
        place.run.publish(place.exchange, "", b"", keyed("a"), persistent=False)
        place.run.run_all()
        place.run = place.run.restart()
        place.publish("a")
        assert place.count() == 1


def test_a_message_that_a_full_queue_refused_was_not_seen() -> None:
    place = Place("queue", max_length=1, overflow="reject-publish")
    place.publish("a")
    place.publish("b")
    assert place.count() == 1
    place.publish("b")
    assert place.count() == 1


def test_a_duplicate_goes_to_no_alternate_exchange() -> None:
    run = BrokerRun()
    run.exchange("once", "x-message-deduplication", {"alternate-exchange": "amq.fanout"})
    run.queue("stray", "amq.fanout")
    run.publish("once", "", b"", keyed("a"))
    run.publish("once", "", b"", keyed("a"))
    assert len(run.take_all("stray")) == 1


def test_a_delayed_exchange_can_deduplicate_what_is_due() -> None:
    run = BrokerRun()
    run.exchange("later", "x-delayed-message", {"x-delayed-type": "x-message-deduplication"})
    run.queue("q", "later")
    for _ in range(2):
        run.publish("later", "", b"", keyed("a", x_delay=10))
    run.advance_to(START + 20)
    assert len(run.take_all("q")) == 1
    again = run.restart()
    again.publish("later", "", b"", keyed("a"))
    assert again.take_all("q") == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-cache-size": 0}, "Missing or invalid argument, 'x-cache-size' must be an integer"),
        ({"x-cache-size": "many"}, "Missing or invalid argument, 'x-cache-size' must be an"),
        ({"x-cache-size": True}, "Missing or invalid argument, 'x-cache-size' must be an integer"),
        ({"x-cache-size": KEYS_MAX + 1}, "Invalid argument, 'x-cache-size' must not be greater"),
        ({"x-cache-ttl": 0}, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0"),
        ({"x-cache-persistence": "tape"}, "Invalid argument, 'x-cache-persistence' must be either"),
        ({"x-deduplication-header": 1}, "Invalid argument, 'x-deduplication-header' must be a"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: Table, text: str) -> None:
    with pytest.raises(AmqpError) as refused:
        create(
            ExchangeDeclaration("x-message-deduplication", "once", True, False, False, arguments)
        )
    assert refused.value.code == ReplyCode.PRECONDITION_FAILED
    assert str(refused.value.text).startswith(text)


def test_a_size_may_be_text_as_the_plugin_takes_it() -> None:
    arguments: Table = {"x-cache-size": "5", "x-cache-persistence": "memory"}
    assert create(
        ExchangeDeclaration("x-message-deduplication", "once", True, False, False, arguments)
    )


def retrying(run: BrokerRun) -> Queue:
    """A queue q that deduplicates, whose dead letters come back after 200 milliseconds."""
    run.queue("wait", arguments=leading_to("q", message_ttl=200))
    return run.queue(
        "q",
        arguments=queue_arguments(dead_letter_exchange="", dead_letter_routing_key="wait"),
    )


def reject_next(queue: Queue) -> None:
    taken = queue.take()
    assert taken is not None
    queue.reject(taken[0], taken[1])


def test_a_dead_letter_that_comes_back_is_no_duplicate_of_itself() -> None:
    run = BrokerRun()
    queue = retrying(run)
    run.publish("", "q", b"1", keyed("k"))
    for _ in range(3):
        reject_next(queue)
        run.advance_to(run.now + 200)
        assert queue.message_count() == 1
    run.publish("", "q", b"2", keyed("k"))
    assert [message.body for message in run.take_all("q")] == [b"1"]


def test_a_dead_letter_of_another_queue_is_a_duplicate() -> None:
    run = BrokerRun()
    retrying(run)
    run.publish("", "q", b"1", keyed("k"))
    run.publish("", "wait", b"2", keyed("k"))
    run.advance_to(run.now + 200)
    assert [message.body for message in run.take_all("q")] == [b"1"]


def test_a_client_cannot_evade_deduplication_with_the_headers_of_a_dead_letter() -> None:
    run = BrokerRun()
    queue = retrying(run)
    run.publish("", "q", b"1", keyed("k"))
    forged: Table = {HEADER: "k", "x-death": [{"queue": "q", "reason": "rejected", "count": 1}]}
    run.publish("", "q", b"2", Basic.Properties(headers=forged))
    assert queue.message_count() == 1


def test_a_dead_letter_that_comes_back_through_a_delayed_exchange_is_no_duplicate() -> None:
    run = BrokerRun()
    run.exchange("later", "x-delayed-message", {"x-delayed-type": "fanout"})
    queue = run.queue("q", "later", arguments=queue_arguments(dead_letter_exchange="later"))
    run.publish("", "q", b"1", keyed("k", x_delay=50))
    reject_next(queue)
    assert queue.message_count() == 0
    run.advance_to(run.now + 51)
    assert queue.message_count() == 1


@KINDS
def test_windows_take_a_share_of_the_memory_together(kind: str) -> None:
    place = Place(kind, cache_size=1000)
    windows = place.run.vhost.memory.windows
    windows.limit = 10 * (KEY_BYTES + 16)
    for number in range(100):
        place.publish(f"key {number}")
    assert int(windows.charged) <= int(windows.limit)
    assert int(windows.dropped) >= 90
    place.count()
    place.publish("key 99")
    assert place.count() == 0
    place.publish("key 0")
    assert place.count() == 1
