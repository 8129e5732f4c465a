"""Making exchanges by type, and what direct and fanout and all types have in common."""

import pytest

from leveret.engine.routing.exchanges import EXCHANGE_TYPES, Destination, create
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.routing.sink import ACCEPTED
from leveret.engine.values.clock import Clock
from leveret.engine.values.field_table import FieldValue, Table
from leveret.errors import AmqpError, ReplyCode
from tests.unit.engine.routing.exchanges.naive import bindings_to, drop, exchange, matched, message

ALL_TYPES = sorted(EXCHANGE_TYPES)

ONE_OF_ALL = {"x-consistent-hash", "x-modulus-hash", "x-random"}
"""Types whose messages go to one binding, however many there are."""

TO_ALL_ALIKE = sorted(EXCHANGE_TYPES.keys() - ONE_OF_ALL)

PER_MESSAGE = {"headers", "x-message-deduplication", "x-random", "x-recent-history"}


def test_the_types_are_those_of_the_protocol_and_of_plugins() -> None:
    assert ALL_TYPES == [
        "direct",
        "fanout",
        "headers",
        "topic",
        "x-consistent-hash",
        "x-message-deduplication",
        "x-modulus-hash",
        "x-random",
        "x-recent-history",
    ]


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_an_exchange_is_made_as_it_was_declared(kind: str) -> None:
    arguments: Table = {"alternate-exchange": "other", "x-anything": [1]}
    made = create(ExchangeDeclaration(kind, "x", False, True, True, arguments))
    assert (made.type, made.name, made.alternate) == (kind, "x", "other")
    assert (made.durable, made.auto_delete, made.internal) == (False, True, True)
    assert made.arguments == arguments
    assert made.needs_message is (kind in PER_MESSAGE)
    assert (made.is_bound(), made.bindings()) == (False, [])


@pytest.mark.parametrize("kind", ["", "Direct", "x-unheard-of"])
def test_an_unknown_type_is_refused(kind: str) -> None:
    with pytest.raises(AmqpError) as refused:
        create(ExchangeDeclaration(kind, "x", True, False, False, {}))
    assert refused.value.code is ReplyCode.PRECONDITION_FAILED
    assert refused.value.text == f"unknown exchange type '{kind}'"


@pytest.mark.parametrize(
    ("alternate", "named"), [(1, "signedint"), (True, "bool"), (None, "void"), ([], "array")]
)
def test_an_alternate_exchange_that_is_no_string_is_refused(
    alternate: FieldValue, named: str
) -> None:
    with pytest.raises(AmqpError) as refused:
        create(
            ExchangeDeclaration(
                "direct", "x", True, False, False, {"alternate-exchange": alternate}
            ),
            "v",
        )
    assert refused.value.code is ReplyCode.PRECONDITION_FAILED
    assert refused.value.text == (
        f"invalid type '{named}' for arg 'alternate-exchange' in exchange 'x' in vhost 'v'"
    )


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_bindings_that_differ_in_type_of_an_argument_only_are_different(kind: str) -> None:
    source = exchange(kind)
    queue = Destination("q")
    ones: list[FieldValue] = [1, True, 1.0, "1", b"1", bytearray(b"1"), None, [1], [True]]
    for one in ones:
        assert source.bind(queue, "1", {"a": one}) is True
        assert source.bind(queue, "1", {"a": one}) is False
    assert len(source.bindings()) == len(ones)
    assert source.unbind(queue, "1", {"a": 1}) is True
    assert len(source.bindings()) == len(ones) - 1
    assert len(drop(queue)) == len(ones) - 1


@pytest.mark.parametrize("kind", TO_ALL_ALIKE)
def test_destinations_of_the_same_name_are_not_the_same(kind: str) -> None:
    source = exchange(kind)
    queue, namesake = Destination("n"), Destination("n")
    source.bind(queue, "1", {})
    assert source.unbind(namesake, "1", {}) is False
    assert source.bind(namesake, "1", {}) is True
    assert matched(source, "1", {}) == [queue, namesake]


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_a_destination_knows_the_exchanges_bound_to_it(kind: str) -> None:
    first, second = exchange(kind), exchange("fanout")
    queue = Destination("q")
    first.bind(queue, "1", {})
    first.bind(queue, "2", {})
    second.bind(queue, "1", {})
    assert queue.sources() == [first, second]
    assert [b.routing_key for b in bindings_to(queue)] == ["1", "2", "1"]
    assert [b.source for b in drop(queue)] == [second, first, first]
    assert queue.sources() == []


@pytest.mark.parametrize("kind", TO_ALL_ALIKE)
def test_an_exchange_bound_to_itself_and_others_lets_go_of_all(kind: str) -> None:
    source, other = exchange(kind), exchange("fanout")
    source.bind(source, "1", {})
    source.bind(other, "1", {})
    source.bind(other, "2", {})
    assert matched(source, "1") == [source, other]
    assert [b.destination for b in drop(source)] == [source, other, other]
    assert matched(source, "1") == []
    assert (source.sources(), other.sources()) == ([], [])


def test_a_fanout_exchange_names_a_queue_once_however_often_it_is_bound() -> None:
    fanout = exchange("fanout")
    queue = Destination("q")
    for key in ("a", "b", "c"):
        fanout.bind(queue, key, {})
    into: list[Destination] = []
    fanout.match("z", None, into)
    assert into == [queue]


def test_a_direct_exchange_compares_whole_keys() -> None:
    direct = exchange("direct")
    queue = Destination("q")
    for key in ("a.*", "#", "a"):
        direct.bind(queue, key, {})
    assert [matched(direct, key) for key in ("a.b", "", "a.", "A")] == [[], [], [], []]
    assert matched(direct, "a.*") == [queue]


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_a_match_appends_to_what_was_found_before(kind: str) -> None:
    source = exchange(kind)
    before, queue = Destination("before"), Destination("q")
    source.bind(queue, "1", {})
    into = [before]
    source.match("1", message(), into)
    assert into == [before, queue]


def test_a_match_remembers_nothing() -> None:
    """Deduplication and history take what they remember from `record` alone."""
    seen: Table = {"x-deduplication-header": "a key"}
    deduplicating = exchange("x-message-deduplication")
    assert isinstance(deduplicating, DeduplicatingExchange)
    deduplicating.attach(Clock(1), lambda key, expires_at: None)
    history = exchange("x-recent-history")
    for source in (deduplicating, history):
        source.match("k", message(seen), [])
    assert deduplicating.intercept(message(seen)) is None
    assert history.recent() == []
    for source in (deduplicating, history):
        source.record(message(seen))
    assert deduplicating.intercept(message(seen)) is not None
    assert deduplicating.window.duplicates == 0, "only what is dropped counts"
    assert len(history.recent()) == 1


def test_what_takes_a_duplicate_counts_it() -> None:
    source = exchange("x-message-deduplication")
    assert isinstance(source, DeduplicatingExchange)
    source.attach(Clock(1), lambda key, expires_at: None)
    duplicate = message({"x-deduplication-header": "a key"})
    source.record(duplicate)
    discard = source.intercept(duplicate)
    assert discard is not None
    assert discard.publish(duplicate) == ACCEPTED
    assert source.window.duplicates == 1
