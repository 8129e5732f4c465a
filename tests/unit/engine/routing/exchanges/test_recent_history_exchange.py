"""The recent history exchange: the last messages, for new bindings."""

import pytest

from leveret.engine.routing.exchanges import Destination, Exchange
from leveret.engine.values.field_table import FieldValue
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import HISTORY_BYTES_MAX
from tests.unit.engine.routing.exchanges.naive import exchange, message

KIND = "x-recent-history"


def publish(source: Exchange, *bodies: bytes, **headers: FieldValue) -> None:
    for body in bodies:
        source.record(message({name.replace("_", "-"): headers[name] for name in headers}, body))


def history(source: Exchange) -> list[bytes]:
    return [each.body for each in source.recent()]


def test_a_message_goes_to_everything_bound() -> None:
    source = exchange(KIND)
    queues = [Destination(name) for name in "qr"]
    for queue in queues:
        source.bind(queue, "", {})
        source.bind(queue, "k", {})
    into: list[Destination] = []
    source.match("whatever", message(), into)
    assert into == queues


@pytest.mark.parametrize(("arguments", "length"), [({}, 20), ({"x-recent-history-length": 3}, 3)])
def test_the_last_messages_are_kept_in_order(arguments: dict[str, FieldValue], length: int) -> None:
    source = exchange(KIND, arguments)
    bodies = [b"%d" % number for number in range(25)]
    publish(source, *bodies[:2])
    assert history(source) == bodies[:2]
    publish(source, *bodies[2:])
    assert history(source) == bodies[-length:]


@pytest.mark.parametrize("value", [False, None, "true", 1, 0])
def test_only_a_true_header_keeps_a_message_from_being_kept(value: FieldValue) -> None:
    source = exchange(KIND)
    publish(source, b"one", x_recent_history_no_store=value)
    publish(source, b"two", x_recent_history_no_store=True)
    publish(source, b"three")
    assert history(source) == [b"one", b"three"]


def test_other_types_keep_nothing() -> None:
    source = exchange("fanout")
    publish(source, b"one")
    assert history(source) == []


def test_the_bytes_of_what_is_kept_are_bounded() -> None:
    source = exchange(KIND, {"x-recent-history-length": 10**12})
    large = bytes(HISTORY_BYTES_MAX // 3)
    publish(source, b"first", *[large] * 5)
    assert history(source) == [large] * 2
    huge = bytes(HISTORY_BYTES_MAX + 1)
    publish(source, huge)
    assert history(source) == [huge], "the last message is kept whatever its size"
    publish(source, b"small")
    assert history(source) == [b"small"]
    publish(source, *[b""] * 100_000)
    assert 10_000 < len(source.recent()) < 100_000, "messages without a body cost, too"


@pytest.mark.parametrize(
    ("length", "written"),
    [(0, "0"), (-1, "-1"), ("5", '<<"5">>'), (True, "true"), (None, "undefined"), (1.5, "1.5")],
)
def test_a_length_that_is_no_positive_integer_is_refused(length: FieldValue, written: str) -> None:
    with pytest.raises(AmqpError) as refused:
        exchange(KIND, {"x-recent-history-length": length})
    assert refused.value.code is ReplyCode.PRECONDITION_FAILED
    assert refused.value.text == (
        f"Invalid argument {written}, 'x-recent-history-length' must be a positive integer"
    )
