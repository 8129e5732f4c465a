"""The limits of connections, channels, messages and tables, each with its answer on the wire."""

from collections.abc import Iterator

import pytest
from pamqp import commands

from tests.clients.peers import Peers, log_lines
from tests.support.brokers import Broker, Leveret
from tests.support.wire import (
    BODY,
    PROTOCOL_HEADER,
    long_string,
    make_start_ok,
    raw_frame,
    raw_header,
    raw_method,
    raw_table,
    short_string,
)

MAX_CONNECTIONS = 8
MAX_MESSAGE_SIZE = 100_000
CONSUMERS_PER_CHANNEL = 3
CHANNEL_MAX = 16

INITIAL_FRAME_MAX = 8192
TABLE_DEPTH_MAX = 64
TABLE_ENTRIES_MAX = 8192


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    """A broker with small limits."""
    limits = {
        "LEVERET_AMQP_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
        "LEVERET_AMQP_MAX_MESSAGE_SIZE": str(MAX_MESSAGE_SIZE),
        "LEVERET_AMQP_CONSUMERS_PER_CHANNEL": str(CONSUMERS_PER_CHANNEL),
        "LEVERET_AMQP_CHANNEL_MAX": str(CHANNEL_MAX),
    }
    with Leveret(env=limits) as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Broker) -> Iterator[Peers]:
    """Connections to it, with the channels it allows."""
    with Peers(broker, channel_max=CHANNEL_MAX) as opened:
        yield opened


# --- before login ---------------------------------------------------------------------------


def test_the_largest_frame_before_login_is_taken(peers: Peers) -> None:
    peer = peers.connect()
    peer.send_bytes(PROTOCOL_HEADER)
    peer.read_one(commands.Connection.Start)
    start_ok = raw_start_ok(b"." * (INITIAL_FRAME_MAX - len(raw_start_ok(b""))))
    assert len(start_ok) == INITIAL_FRAME_MAX

    peer.send_bytes(start_ok)

    peer.read_one(commands.Connection.Tune)


def test_a_larger_frame_before_login_is_refused(peers: Peers, broker: Leveret) -> None:
    peer = peers.connect()
    peer.send_bytes(PROTOCOL_HEADER)
    peer.read_one(commands.Connection.Start)

    peer.send_bytes(b"\x01\0\0" + (INITIAL_FRAME_MAX + 1).to_bytes(4, "big"))

    close = peer.read_one(commands.Connection.Close)
    assert (close.reply_code, close.reply_text[:11]) == (501, "FRAME_ERROR")
    assert len(log_lines(broker, peer.log_field)) == 1


# --- connections ----------------------------------------------------------------------------


def test_a_connection_too_many_is_told_and_has_room_when_another_goes(peers: Peers) -> None:
    opened = [peers.log_in() for _ in range(MAX_CONNECTIONS)]
    late = peers.connect()
    late.send_bytes(PROTOCOL_HEADER)
    late.read_one(commands.Connection.Start)
    late.call(make_start_ok(), commands.Connection.Tune, 0)
    late.send(commands.Connection.TuneOk(CHANNEL_MAX, 131_072, 0))

    close = late.call(commands.Connection.Open("/"), commands.Connection.Close, 0)

    assert close.reply_code == 530
    text = f"NOT_ALLOWED - connection refused: node connection limit ({MAX_CONNECTIONS}) is reached"
    assert close.reply_text == text
    assert (close.class_id, close.method_id) == (10, 40)
    opened[0].call(commands.Connection.Close(200, "", 0, 0), commands.Connection.CloseOk, 0)
    peers.log_in()


# --- channels -------------------------------------------------------------------------------


def test_a_channel_too_many_closes_the_connection(peers: Peers) -> None:
    peer = peers.log_in()
    for number in range(2, CHANNEL_MAX + 1):
        peer.open_channel(number)

    close = peer.call(commands.Channel.Open(), commands.Connection.Close, CHANNEL_MAX + 1)

    assert close.reply_code == 530
    assert close.reply_text == (
        f"NOT_ALLOWED - number of channels opened ({CHANNEL_MAX}) has reached the negotiated "
        f"channel_max ({CHANNEL_MAX})"
    )


def test_a_consumer_too_many_closes_the_connection(peers: Peers, name: str) -> None:
    peer = peers.log_in()
    peer.declare(name)
    for number in range(CONSUMERS_PER_CHANNEL):
        peer.consume(name, f"tag-{number}")

    close = peer.call(commands.Basic.Consume(queue=name), commands.Connection.Close)

    assert close.reply_code == 530
    assert close.reply_text == (
        f"NOT_ALLOWED - reached maximum ({CONSUMERS_PER_CHANNEL}) of consumers per channel"
    )


# --- messages -------------------------------------------------------------------------------


def test_the_largest_message_passes(peers: Peers, name: str) -> None:
    peer = peers.log_in()
    peer.declare(name)
    peer.consume(name)

    peer.publish(name, b"." * MAX_MESSAGE_SIZE)

    assert len(peer.read_content()) == MAX_MESSAGE_SIZE


@pytest.mark.parametrize("size", [MAX_MESSAGE_SIZE + 1, 2**63, 2**64 - 1])
def test_a_larger_message_closes_its_channel_and_no_other(
    peers: Peers, name: str, size: int
) -> None:
    peer = peers.log_in()
    peer.open_channel(2)
    peer.declare(name)
    publish = commands.Basic.Publish(routing_key=name)

    # The body is on its way already when the header is refused.
    peer.send(publish, 2)
    peer.send_bytes(raw_header(2, 60, size) + b"\x03\0\x02\0\0\0\x04....\xce")
    close = peer.read_one(commands.Channel.Close)

    assert close.reply_code == 406
    assert close.reply_text == (
        f"PRECONDITION_FAILED - message size {size} is larger than configured max size "
        f"{MAX_MESSAGE_SIZE}"
    )
    assert (close.class_id, close.method_id) == (60, 40)
    peer.publish(name, b"small")
    assert peer.count(name) == 1
    peer.send(commands.Channel.CloseOk(), 2)
    peer.open_channel(2)


# --- tables and names -----------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """A table with tables in each other, `depth` of them."""
    value = raw_table()
    for _ in range(depth - 1):
        value = raw_table(("t", b"F", value))
    return value


def declare_with(queue: str, arguments: bytes) -> bytes:
    """queue.declare with any octets for arguments."""
    return raw_method(1, 50, 10, b"\0\0" + short_string(queue) + b"\0" + arguments)


def raw_start_ok(filling: bytes) -> bytes:
    """A start-ok made as long as wished, with frame and all."""
    properties = raw_table(("filling", b"S", long_string(filling)))
    answer = short_string("PLAIN") + long_string("\0guest\0guest") + short_string("en_US")
    return raw_method(0, 10, 11, properties + answer)


def test_tables_up_to_their_depth_and_entries_are_taken(peers: Peers, name: str) -> None:
    peer = peers.log_in()
    entries = raw_table(*[(f"{n:04}", b"t", b"\1") for n in range(TABLE_ENTRIES_MAX)])

    for number, arguments in enumerate((nested(TABLE_DEPTH_MAX), entries)):
        peer.send_bytes(declare_with(f"{name}-{number}", arguments))
        peer.read_one(commands.Queue.DeclareOk)


@pytest.mark.parametrize("depth", [TABLE_DEPTH_MAX + 1, 10_000])
def test_deeper_tables_are_a_syntax_error(peers: Peers, name: str, depth: int) -> None:
    peer = peers.log_in()

    peer.send_bytes(declare_with(name, nested(depth)))

    close = peer.read_one(commands.Connection.Close)
    assert close.reply_code == 502
    assert f"nested deeper than {TABLE_DEPTH_MAX}" in close.reply_text


def test_tables_of_more_entries_are_a_syntax_error(peers: Peers, name: str) -> None:
    peer = peers.log_in()
    entries = [(f"{n:04}", b"t", b"\1") for n in range(TABLE_ENTRIES_MAX + 1)]

    peer.send_bytes(declare_with(name, raw_table(*entries)))

    close = peer.read_one(commands.Connection.Close)
    assert close.reply_code == 502
    assert f"more than {TABLE_ENTRIES_MAX} entries" in close.reply_text


@pytest.mark.parametrize("text", ["q" * 255, "ß" * 127, "兔子" * 42, "🐇 = \"x\" 'y'"])
def test_names_of_any_script_and_up_to_255_octets_work(peers: Peers, text: str) -> None:
    peer = peers.log_in()
    name = short_string(text)
    table = raw_table((text, b"S", long_string(text)))
    peer.send_bytes(declare_with(text, table))
    peer.read_one(commands.Queue.DeclareOk)
    peer.send_bytes(raw_method(1, 40, 10, b"\0\0" + name + short_string("topic") + b"\0" + table))
    peer.read_one(commands.Exchange.DeclareOk)
    peer.send_bytes(raw_method(1, 50, 20, b"\0\0" + name * 3 + b"\0" + table))
    peer.read_one(commands.Queue.BindOk)
    peer.send_bytes(raw_method(1, 60, 20, b"\0\0" + name * 2 + b"\0" + table))
    assert peer.read_method() == bytes((0, 60, 0, 21)) + name

    content = raw_header(1, 60, 5) + raw_frame(BODY, 1, b"hello")
    peer.send_bytes(raw_method(1, 60, 40, b"\0\0" + name * 2 + b"\0") + content)

    tag_and_flag = (1).to_bytes(8, "big") + b"\0"
    assert peer.read_method() == bytes((0, 60, 0, 60)) + name + tag_and_flag + name * 2
    assert peer.read_body() == b"hello"
    peer.send_bytes(raw_method(1, 50, 40, b"\0\0" + name + b"\0"))
    peer.read_one(commands.Queue.DeleteOk)
