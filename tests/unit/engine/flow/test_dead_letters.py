"""Dead letters by themselves: chains, circles, what is written on them, and restarts."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from leveret.engine.queues.message_memory import CHUNK_MESSAGES, CHUNKS_IN_MEMORY
from leveret.engine.queues.queue import Queue
from leveret.engine.values.encoded_table import HEADER_PREFIX_BYTES, check_properties
from leveret.engine.values.message import Message
from leveret.engine.values.properties import (
    array_values,
    header_value,
    integer_of,
    string_octets,
    table_entries,
)
from leveret.errors import AmqpError
from leveret.limits import X_DEATH_ENTRIES_MAX
from tests.support.wire import long_string, raw_table
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to

DEEP = (CHUNKS_IN_MEMORY + 4) * CHUNK_MESSAGES


def deaths(message: Message) -> list[Mapping[bytes, bytes]]:
    """The deaths that stand on a dead letter, the newest first."""
    value = header_value(message.header, b"x-death")
    assert value is not None
    return [dict(table_entries(death)) for death in array_values(value)]


def reject_one(queue: Queue) -> None:
    """Take the next message and reject it."""
    taken = queue.take()
    assert taken is not None
    queue.reject(taken[0], taken[1])


def bodies(messages: list[Message]) -> list[bytes]:
    return [message.body for message in messages]


@pytest.fixture
def run() -> BrokerRun:
    return BrokerRun()


def test_what_is_written_on_a_dead_letter_has_the_types_that_rabbitmq_gives_it(
    run: BrokerRun,
) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    run.publish("", "q", b"1", Basic.Properties(expiration="60000"))
    reject_one(queue)
    (dead,) = run.take_all("dead")
    (death,) = deaths(dead)
    assert {name: value[:1] for name, value in death.items()} == {
        b"count": b"l",
        b"reason": b"S",
        b"queue": b"S",
        b"time": b"T",
        b"exchange": b"S",
        b"routing-keys": b"A",
        b"original-expiration": b"S",
    }
    assert int.from_bytes(death[b"time"][1:], "big") == run.now // 1000
    for name, value in ((b"reason", b"rejected"), (b"queue", b"q"), (b"exchange", b"")):
        for which in (b"first", b"last"):
            died = header_value(dead.header, b"x-%s-death-%s" % (which, name))
            assert died == b"S" + long_string(value)


def test_the_last_death_is_another_than_the_first(run: BrokerRun) -> None:
    first = run.queue("q", arguments=leading_to("p"))
    second = run.queue("p", arguments=leading_to("dead", max_length=0))
    run.queue("dead")
    run.publish("", "q", b"1")
    reject_one(first)
    assert second.message_count() == 0
    (dead,) = run.take_all("dead")
    died = {
        (which, what): string_octets(
            header_value(dead.header, b"x-%s-death-%s" % (which, what)) or b""
        )
        for which in (b"first", b"last")
        for what in (b"queue", b"reason")
    }
    assert died == {
        (b"first", b"queue"): b"q",
        (b"first", b"reason"): b"rejected",
        (b"last", b"queue"): b"p",
        (b"last", b"reason"): b"maxlen",
    }
    assert [string_octets(death[b"queue"]) for death in deaths(dead)] == [b"p", b"q"]


def test_a_dead_letter_does_not_say_how_often_it_came_back_to_the_queue_it_left(
    run: BrokerRun,
) -> None:
    queue = run.queue("q", arguments=leading_to("dead", delivery_limit=1))
    run.queue("dead")
    run.publish("", "q", b"1")
    for _ in range(2):
        taken = queue.take()
        assert taken is not None
        queue.requeue(taken[0], taken[1], True)
    (dead,) = run.take_all("dead")
    assert string_octets(deaths(dead)[0][b"reason"]) == b"delivery_limit"
    assert header_value(dead.header, b"x-delivery-count") is None
    assert header_value(dead.header, b"x-acquired-count") is None


def test_a_message_of_a_queue_that_is_deleted_is_no_dead_letter_when_it_is_rejected(
    run: BrokerRun,
) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    dead = run.queue("dead")
    run.publish("", "q", b"1")
    taken = queue.take()
    assert taken is not None
    queue.delete()
    queue.reject(taken[0], taken[1])
    assert dead.message_count() == 0


@pytest.mark.parametrize("name", ["dead_letter_exchange", "dead_letter_routing_key"])
def test_a_name_that_fits_into_no_method_is_refused_when_a_queue_is_declared(
    run: BrokerRun, name: str
) -> None:
    fits = {"dead_letter_exchange": "", "dead_letter_routing_key": "", name: "é" * 127 + "x"}
    run.queue("q", arguments=arguments(**fits))
    with pytest.raises(AmqpError, match=r"invalid arg 'x-dead-letter-.*max_value_exceeded,256"):
        run.queue("p", arguments=arguments(**{**fits, name: "é" * 128}))


# --- many queues -----------------------------------------------------------------------------


def test_one_message_pushes_three_thousand_others_a_queue_further(run: BrokerRun) -> None:
    count = 3_000
    for number in range(count):
        run.queue(f"q{number}", durable=False, arguments=leading_to(f"q{number + 1}", max_length=1))
    last = run.queue(f"q{count}", durable=False)
    for number in range(count):
        run.publish("", f"q{number}", b"%d" % number, persistent=False)
    run.publish("", "q0", b"new", persistent=False)
    assert last.message_count() == 1
    assert bodies(run.take_all(f"q{count}")) == [b"%d" % (count - 1)]
    assert bodies(run.take_all("q0")) == [b"new"]
    assert bodies(run.take_all("q1500")) == [b"1499"]


def chain(run: BrokerRun, count: int) -> Queue:
    """So many queues that pass on all they get, and one at the end."""
    for number in range(count):
        run.queue(f"q{number}", durable=False, arguments=leading_to(f"q{number + 1}", max_length=0))
    return run.queue(f"q{count}", durable=False)


def test_a_message_may_die_as_often_as_the_limit_says(run: BrokerRun) -> None:
    last = chain(run, X_DEATH_ENTRIES_MAX)
    run.publish("", "q0", b"1", persistent=False)
    assert last.message_count() == 1
    (dead,) = run.take_all(f"q{X_DEATH_ENTRIES_MAX}")
    assert len(deaths(dead)) == X_DEATH_ENTRIES_MAX
    assert string_octets(deaths(dead)[0][b"queue"]) == b"q%d" % (X_DEATH_ENTRIES_MAX - 1)
    assert run.vhost.dead_letters.dropped == {}


def test_a_message_that_died_more_often_than_the_limit_says_is_dropped(run: BrokerRun) -> None:
    last = chain(run, X_DEATH_ENTRIES_MAX + 1)
    run.publish("", "q0", b"1", persistent=False)
    assert last.message_count() == 0
    assert run.vhost.dead_letters.dropped == {f"q{X_DEATH_ENTRIES_MAX}": 1}


def test_a_circle_of_queues_that_keep_nothing_ends_where_it_began(run: BrokerRun) -> None:
    for number in range(10):
        following = (number + 1) % 10
        run.queue(f"q{number}", arguments=leading_to(f"q{following}", max_length=0))
    run.publish("", "q3", b"1")
    assert run.vhost.dead_letters.dropped == {"q2": 1}


def test_a_dead_letter_that_a_full_queue_refuses_is_counted_as_lost(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("full"))
    full = run.queue("full", arguments=arguments(max_length=1, overflow="reject-publish"))
    run.publish("", "full", b"there")
    for body in (b"1", b"2"):
        run.publish("", "q", body)
        reject_one(queue)
    assert full.message_count() == 1
    assert run.vhost.dead_letters.dropped == {"q": 2}


# --- restarts --------------------------------------------------------------------------------


def test_a_message_and_the_dead_letter_it_makes_where_it_went_are_both_there_after_a_restart(
    run: BrokerRun,
) -> None:
    run.exchange("x", "fanout", {})
    run.queue("b", "x")
    run.queue("a", "x", arguments=leading_to("b", max_length=1))
    for body in (b"1", b"2", b"3"):
        run.publish("x", "", body)
    run.run_all()
    run = run.restart()
    assert bodies(run.take_all("a")) == [b"3"]
    assert bodies(run.take_all("b")) == [b"1", b"2", b"1", b"3", b"2"]


def test_a_dead_letter_is_in_the_log_as_soon_as_its_message_is_settled(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("dead"))
    run.queue("dead")
    for number in range(10):
        run.publish("", "q", b"%d" % number)
    for _ in range(4):
        reject_one(queue)
    run.run_all()
    run = run.restart(power=True)
    assert bodies(run.take_all("q")) == [b"%d" % number for number in range(4, 10)]
    dead = run.take_all("dead")
    assert bodies(dead) == [b"%d" % number for number in range(4)]
    assert all(string_octets(deaths(each)[0][b"queue"]) == b"q" for each in dead)


def test_what_a_quorum_queue_has_is_persistent_and_so_are_its_dead_letters(run: BrokerRun) -> None:
    queue = run.queue("q", arguments=leading_to("dead", queue_type="quorum"))
    run.queue("dead")
    for body in (b"1", b"2"):
        run.publish("", "q", body, persistent=False)
    reject_one(queue)
    run.run_all()
    run = run.restart()
    assert bodies(run.take_all("q")) == [b"2"]
    assert bodies(run.take_all("dead")) == [b"1"]


def test_what_expires_in_a_queue_that_is_on_disk_comes_to_the_other_in_order(
    run: BrokerRun,
) -> None:
    queue = run.queue("q", arguments=leading_to("dead", message_ttl=1_000))
    run.queue("dead")
    for number in range(DEEP):
        run.publish("", "q", b"%d" % number, persistent=number % 3 != 0)
    run.run_all()
    run.advance_to(run.now + 999)
    assert queue.message_count() == DEEP
    run.advance_to(run.now + 1)
    assert queue.message_count() == 0
    run = run.restart()
    assert bodies(run.take_all("dead")) == [b"%d" % number for number in range(DEEP) if number % 3]


# --- what clients write ----------------------------------------------------------------------

octets = st.binary(max_size=6)
values = st.recursive(
    st.one_of(
        st.just(b"V"),
        octets.map(lambda value: b"S" + long_string(value)),
        st.sampled_from([b"q", b"rejected", b"expired"]).map(lambda it: b"S" + long_string(it)),
        st.integers(-(2**63), 2**63 - 1).map(lambda it: b"l" + it.to_bytes(8, "big", signed=True)),
        st.sampled_from([2**63 - 1, -(2**63)]).map(
            lambda it: b"l" + it.to_bytes(8, "big", signed=True)
        ),
        st.integers(0, 255).map(lambda it: b"B" + bytes([it])),
        st.booleans().map(lambda it: b"t" + bytes([it])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda them: b"A" + long_string(b"".join(them))),
        st.dictionaries(
            st.sampled_from(["queue", "reason", "count", "time", "routing-keys", "exchange", ""]),
            inner,
            max_size=5,
        ).map(
            lambda them: b"F" + raw_table(*((name, it[:1], it[1:]) for name, it in them.items()))
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values, values)
def test_whatever_a_client_writes_for_deaths_a_message_dies_and_says_of_what(
    written: bytes, copied: bytes
) -> None:
    run = BrokerRun()
    queue = run.queue("q", durable=False, arguments=arguments(dead_letter_exchange="x"))
    run.exchange("x", "fanout", {}, durable=False)
    run.queue("dead", "x", durable=False)
    table = raw_table(("x-death", written[:1], written[1:]), ("CC", copied[:1], copied[1:]))
    header = b"\0\x3c\0\0" + bytes(8) + b"\x20\0" + table
    queue.publish(Message(b"\0\1q", header, b"", False, run.now))
    reject_one(queue)
    (dead,) = run.take_all("dead")
    check_properties(dead.header, HEADER_PREFIX_BYTES, len(dead.header))
    newest = deaths(dead)[0]
    assert string_octets(newest[b"queue"]) == b"q"
    assert string_octets(newest[b"reason"]) == b"rejected"
    assert integer_of(newest[b"count"]) != 0 or b"count" in written
