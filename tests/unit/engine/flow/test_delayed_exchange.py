"""What is published to a delayed exchange is routed when it is due, and not before."""

import struct

import pytest
from pamqp.commands import Basic

from leveret.engine.lifecycle.bindings import unbind_queue
from leveret.engine.lifecycle.exchanges import delete_exchange
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.exchanges.types import create
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.delay import DELAY_MS_MAX, delay_of, with_delay_over
from leveret.engine.values.field_table import Table, headers_of
from leveret.engine.values.properties import header_value, long_integer, long_string
from leveret.engine.values.time_slice import UNITS_PER_READING, UNLIMITED_NS
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import FAN_OUT_AT_ONCE
from leveret.protocol.wire.methods import encode_header
from tests.unit.engine.queues.broker_run import START, BrokerRun, arguments, leading_to


def delayed(delay: object, **properties: object) -> Basic.Properties:
    """Properties that ask for a delay."""
    return Basic.Properties(headers={"x-delay": delay}, **properties)  # type: ignore[dict-item, arg-type]


def rejecting(max_length: int) -> Arguments:
    """Arguments of a queue that refuses what exceeds a length."""
    return arguments(max_length=max_length, overflow="reject-publish")


def with_value(value: bytes) -> bytes:
    """A content header with a header `x-delay`, whose value begins with its type letter."""
    table = b"\x07x-delay" + value
    return bytes(12) + b"\x20\x00" + len(table).to_bytes(4, "big") + table


@pytest.fixture
def run() -> BrokerRun:
    run = BrokerRun()
    run.exchange("later", "x-delayed-message", {"x-delayed-type": "direct"})
    run.queue("q", "later", "key")
    return run


def bodies(run: BrokerRun, queue: str = "q") -> list[bytes]:
    """The bodies of all that is in a queue, which is empty then."""
    return [message.body for message in run.take_all(queue)]


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        (b"b\x64", 100),
        (b"B\xff", 255),
        (b"s\x01\x00", 256),
        (b"u\xff\xff", 65535),
        (b"I\x00\x01\x00\x00", 65536),
        (b"i\xff\xff\xff\xff", 0xFFFFFFFF),
        (long_integer(1 << 40), 1 << 40),
        (long_integer((1 << 63) - 1), DELAY_MS_MAX),
        (long_integer(-5), 0),
        (b"I\x00\x00\x00\x00", 0),
        (long_string(b"1500"), 1500),
        (long_string(b"-1500"), 0),
        (long_string(b"9" * 24), DELAY_MS_MAX),
        (long_string(b"soon"), 0),
        (long_string(b""), 0),
        (long_string(b"1" * 5000), 0),
        (b"d" + struct.pack(">d", 99.9), 99),
        (b"f" + struct.pack(">f", 2.5), 2),
        (b"d" + struct.pack(">d", float("inf")), 0),
        (b"d" + struct.pack(">d", float("nan")), 0),
        (b"D\x02" + (12345).to_bytes(4, "big"), 123),
        (b"t\x01", 0),
        (b"V", 0),
        (b"F\x00\x00\x00\x00", 0),
    ],
)
def test_a_delay_is_a_number_of_any_kind(value: bytes, delay: int) -> None:
    assert delay_of(with_value(value)) == delay


def test_a_message_without_headers_has_no_delay() -> None:
    assert delay_of(encode_header(Basic.Properties(), 0)) == 0
    assert delay_of(encode_header(Basic.Properties(headers={"x": 1}), 0)) == 0


@pytest.mark.parametrize(
    ("value", "afterwards"),
    [
        (b"b\x64", b"I" + (-100).to_bytes(4, "big", signed=True)),
        (long_string(b"1500"), b"I" + (-1500).to_bytes(4, "big", signed=True)),
        (b"I\x7f\xff\xff\xff", b"I" + (-0x7FFFFFFF).to_bytes(4, "big", signed=True)),
        (long_integer(1 << 40), long_integer(-(1 << 40))),
    ],
)
def test_a_message_that_has_waited_says_for_how_long(value: bytes, afterwards: bytes) -> None:
    header = with_delay_over(with_value(value))
    assert header_value(header, b"x-delay") == afterwards
    assert delay_of(header) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"x-delayed-type": "x-delayed-message"},
        {"x-delayed-type": "no such type"},
        {"x-delayed-type": 1},
    ],
)
def test_the_type_that_routes_has_to_be_there(arguments: Table) -> None:
    with pytest.raises(AmqpError) as refused:
        create(ExchangeDeclaration("x-delayed-message", "later", True, False, False, arguments))
    assert refused.value.code == ReplyCode.PRECONDITION_FAILED
    assert str(refused.value.text) == (
        "Invalid argument, 'x-delayed-type' must be an existing exchange type"
    )


def test_a_binding_is_checked_as_the_type_that_routes_does() -> None:
    exchange = create(
        ExchangeDeclaration(
            "x-delayed-message",
            "later",
            True,
            False,
            False,
            {"x-delayed-type": "x-consistent-hash"},
        )
    )
    with pytest.raises(AmqpError):
        exchange.validate("not a weight", {})


class TestWaiting:
    def test_a_message_is_routed_when_it_is_due_and_not_before(self, run: BrokerRun) -> None:
        assert run.publish("later", "key", b"a", delayed(1000))
        run.advance_to(START + 1000)
        assert bodies(run) == [], "the millisecond it came in is not over"
        run.advance_to(START + 1001)
        assert bodies(run) == [b"a"]

    def test_messages_come_in_the_order_in_which_they_are_due(self, run: BrokerRun) -> None:
        for delay in (500, 100, 300, 200, 100, 400):
            run.publish("later", "key", b"%d" % delay, delayed(delay))
        run.advance_to(START + 600)
        assert bodies(run) == [b"100", b"100", b"200", b"300", b"400", b"500"]

    def test_messages_due_at_once_come_in_the_order_of_their_arrival(self, run: BrokerRun) -> None:
        sent = [b"%d" % number for number in range(5000)]
        for body in sent:
            run.publish("later", "key", body, delayed(100))
        run.advance_to(START + 101)
        assert bodies(run) == sent

    @pytest.mark.parametrize("delay", [0, -1, "soon", None])
    def test_a_message_without_a_delay_is_routed_at_once(
        self, run: BrokerRun, delay: object
    ) -> None:
        run.publish("later", "key", b"a", delayed(delay))
        assert bodies(run) == [b"a"]

    def test_a_message_that_has_waited_says_so(self, run: BrokerRun) -> None:
        run.publish("later", "key", b"a", delayed(50))
        run.advance_to(START + 51)
        [message] = run.take_all("q")
        assert headers_of(message.header) == {"x-delay": -50}

    def test_only_the_bindings_of_the_time_it_is_due_count(self, run: BrokerRun) -> None:
        run.publish("later", "key", b"a", delayed(50))
        run.publish("later", "other", b"b", delayed(50))
        unbind_queue(run.vhost, "q", "later", "key", {}, None)
        run.queue("p", "later", "other")
        run.advance_to(START + 51)
        assert bodies(run) == []
        assert bodies(run, "p") == [b"b"]

    def test_it_counts_as_routed_while_it_waits(self, run: BrokerRun) -> None:
        assert run.publish("later", "nowhere", b"a", delayed(50))
        assert not run.publish("later", "nowhere", b"a")
        delayed_store = run.vhost.delayed_stores["later"]
        assert delayed_store.message_count() == 1
        run.advance_to(START + 51)
        assert delayed_store.message_count() == 0
        assert run.vhost.delayed_dropped == {"later": 1}

    def test_what_has_nowhere_to_go_goes_to_the_alternate_exchange(self, run: BrokerRun) -> None:
        run.exchange(
            "other",
            "x-delayed-message",
            {"x-delayed-type": "direct", "alternate-exchange": "amq.fanout"},
        )
        run.queue("stray", "amq.fanout")
        run.publish("other", "key", b"a", delayed(50))
        assert bodies(run, "stray") == []
        run.advance_to(START + 51)
        assert bodies(run, "stray") == [b"a"]

    def test_what_is_refused_is_counted(self, run: BrokerRun) -> None:
        run.queue(
            "full", "later", "k", arguments=arguments(max_length=1, overflow="reject-publish")
        )
        for _ in range(3):
            run.publish("later", "k", b"a", delayed(50))
        run.advance_to(START + 51)
        assert bodies(run, "full") == [b"a"]
        assert run.vhost.delayed_dropped == {"later": 2}

    def test_what_is_refused_goes_to_the_alternate_exchange(self, run: BrokerRun) -> None:
        run.exchange(
            "other",
            "x-delayed-message",
            {"x-delayed-type": "direct", "alternate-exchange": "amq.fanout"},
        )
        run.queue("stray", "amq.fanout")
        run.queue(
            "full", "other", "k", arguments=arguments(max_length=0, overflow="reject-publish")
        )
        run.publish("other", "k", b"a", delayed(50))
        run.advance_to(START + 51)
        assert bodies(run, "stray") == [b"a"]
        assert run.vhost.delayed_dropped == {}

    def test_what_is_refused_as_a_dead_letter_is_not_dropped(self, run: BrokerRun) -> None:
        run.queue("dead")
        refusing = leading_to("dead", max_length=0, overflow="reject-publish-dlx")
        run.queue("full", "later", "k", arguments=refusing)
        run.publish("later", "k", b"a", delayed(50))
        run.advance_to(START + 51)
        assert bodies(run, "dead") == [b"a"]
        assert run.vhost.delayed_dropped == {}

    def test_its_time_to_live_begins_when_it_is_in_its_queue(self, run: BrokerRun) -> None:
        run.publish("later", "key", b"a", delayed(1000, expiration="100"))
        run.advance_to(START + 1001)
        [message] = run.take_all("q")
        assert message.expires_at == START + 1001 + 100

    def test_further_keys_in_cc_count_when_it_is_due(self, run: BrokerRun) -> None:
        properties = Basic.Properties(headers={"x-delay": 10, "CC": ["key"]})
        run.publish("later", "nowhere", b"a", properties)
        run.advance_to(START + 11)
        assert bodies(run) == [b"a"]

    def test_it_does_not_wait_again_at_the_next_delayed_exchange(self, run: BrokerRun) -> None:
        run.exchange("first", "x-delayed-message", {"x-delayed-type": "fanout"})
        run.vhost.exchanges["first"].bind(run.vhost.exchanges["later"], "", {})
        run.vhost.router.invalidate()
        run.publish("first", "key", b"a", delayed(10))
        run.advance_to(START + 11)
        assert bodies(run) == [b"a"]

    def test_it_waits_where_another_exchange_leads_to(self, run: BrokerRun) -> None:
        run.exchange("front", "fanout", {})
        run.vhost.exchanges["front"].bind(run.vhost.exchanges["later"], "", {})
        run.vhost.router.invalidate()
        run.publish("front", "key", b"a", delayed(10))
        assert bodies(run) == []
        run.advance_to(START + 11)
        [message] = run.take_all("q")
        assert message.route == b"\x05front\x03key"

    @pytest.mark.parametrize("type_name", ["topic", "fanout", "headers", "x-consistent-hash"])
    def test_any_type_routes(self, run: BrokerRun, type_name: str) -> None:
        run.exchange("any", "x-delayed-message", {"x-delayed-type": type_name})
        run.queue("p", "any", "1")
        run.publish("any", "1", b"a", delayed(10))
        run.advance_to(START + 11)
        assert bodies(run, "p") == [b"a"]

    def test_what_waits_goes_with_its_exchange(self, run: BrokerRun) -> None:
        run.publish("later", "key", b"a", delayed(10))
        run.run_all()
        delete_exchange(run.vhost, "later", if_unused=False)
        run.advance_to(START + 11)
        assert bodies(run) == []
        again = run.restart()
        again.advance_to(START + 1000)
        assert bodies(again) == []
        assert "later" not in again.vhost.exchanges


class TestRestart:
    @pytest.mark.parametrize("power", [False, True])
    def test_what_waits_waits_on_after_a_crash(self, run: BrokerRun, power: bool) -> None:
        run.publish("later", "key", b"b", delayed(2000))
        run.publish("later", "key", b"a", delayed(1000))
        run.publish("later", "key", b"gone", delayed(1000), persistent=False)
        run.run_all()
        again = run.restart(power=power)
        assert bodies(again) == []
        again.advance_to(START + 1000)
        assert bodies(again) == []
        again.advance_to(START + 2001)
        assert bodies(again) == [b"a", b"b"]

    def test_what_was_due_while_nobody_lived_comes_at_once(self, run: BrokerRun) -> None:
        run.publish("later", "key", b"a", delayed(10))
        run.run_all()
        again = BrokerRun(run.medium.kill(), START + 5000)
        assert bodies(again) == [b"a"]

    def test_what_was_routed_is_not_routed_again(self, run: BrokerRun) -> None:
        run.publish("later", "key", b"a", delayed(10))
        run.advance_to(START + 11)
        again = run.restart()
        again.advance_to(START + 1000)
        assert bodies(again) == [b"a"]

    def test_what_waits_in_an_exchange_that_is_not_durable_is_gone(self) -> None:
        run = BrokerRun()
        run.exchange("brief", "x-delayed-message", {"x-delayed-type": "fanout"}, durable=False)
        run.queue("q", "brief")
        run.publish("brief", "", b"a", delayed(10))
        run.run_all()
        again = run.restart()
        again.advance_to(START + 1000)
        assert bodies(again) == []


@pytest.mark.parametrize("exchange", ["q", "another name"])
def test_a_dead_letter_reaches_a_delayed_exchange_with_the_name_of_its_queue(exchange: str) -> None:
    """A dead letter does not return to a queue that it left, and an exchange is no queue."""
    run = BrokerRun()
    run.exchange(exchange, "x-delayed-message", {"x-delayed-type": "fanout"})
    run.queue("q", arguments=arguments(message_ttl=100, dead_letter_exchange=exchange))
    run.queue("out", exchange)
    run.publish("", "q", b"a", delayed(300))
    run.advance_to(START + 100)
    assert run.vhost.delayed_stores[exchange].message_count() == 1
    run.advance_to(START + 500)
    assert bodies(run, "out") == [b"a"]


CHAIN = 6 * UNITS_PER_READING
"""Exchanges in a row: several slices to walk along."""


def begin_long_release(run: BrokerRun, *, persistent: bool = True) -> None:
    """Have a message be due that goes through many exchanges to `end`, and whose slice is over."""
    run.exchange(
        "far", "x-delayed-message", {"x-delayed-type": "direct", "alternate-exchange": "c0"}
    )
    for number in range(CHAIN):
        alternate = {"alternate-exchange": f"c{number + 1}"} if number + 1 < CHAIN else {}
        run.exchange(f"c{number}", "direct" if alternate else "fanout", {**alternate})
    run.queue("end", f"c{CHAIN - 1}")
    run.publish("far", "", b"1", delayed(100), persistent=persistent)
    run.run_all()
    run.broker.clock.advance_to(START + 200)
    run.broker.time_slice.begin(0)
    run.broker.timers.run(run.now)


def test_the_queues_of_a_message_that_is_due_are_found_in_slices(run: BrokerRun) -> None:
    begin_long_release(run)
    store = run.vhost.delayed_stores["far"]
    slices = 0
    while store.message_count():
        assert run.vhost.queues["end"].message_count() == 0
        run.run_one_slice()
        slices += 1
    assert slices >= 4
    assert bodies(run, "end") == [b"1"]


@pytest.mark.parametrize("slices", [0, 1, 3, 20])
def test_a_crash_finds_a_message_in_one_place_while_its_queues_are_searched(
    run: BrokerRun, slices: int
) -> None:
    begin_long_release(run)
    again = run.crash_after(slices)
    assert bodies(again, "end") == [b"1"]


def test_a_message_whose_exchange_is_deleted_during_the_search_is_gone(run: BrokerRun) -> None:
    begin_long_release(run)
    run.run_one_slice()
    delete_exchange(run.vhost, "far", if_unused=False)
    run.run_all()
    assert bodies(run, "end") == []
    assert run.broker.work.is_empty()


def test_a_transient_message_is_released_to_very_many_queues_in_slices(run: BrokerRun) -> None:
    run.exchange("wide", "x-delayed-message", {"x-delayed-type": "fanout"})
    names = [f"w{number}" for number in range(3 * FAN_OUT_AT_ONCE)]
    for name in names:
        run.queue(name, "wide", durable=False)
    run.publish("wide", "", b"1", delayed(100), persistent=False)
    run.broker.clock.advance_to(START + 200)
    run.broker.time_slice.begin(UNLIMITED_NS)
    run.broker.timers.run(run.now)
    assert {int(run.vhost.queues[name].message_count()) for name in names} == {1}
    run.publish("wide", "", b"2", delayed(100), persistent=False)
    run.broker.clock.advance_to(START + 400)
    run.broker.time_slice.begin(0)
    run.broker.timers.run(run.now)
    before = 0
    while not run.broker.work.is_empty():
        run.run_one_slice()
        after = sum(run.vhost.queues[name].message_count() == 2 for name in names)
        assert after <= before + FAN_OUT_AT_ONCE
        before = after
    assert before == len(names)
