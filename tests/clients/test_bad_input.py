"""Hostile octets on the socket: answered or cut at once, one line in the log, nobody else harmed.

What each wrong frame is answered is tested without a socket (tests/protocol); here it is seen that
the process and its other connections get over anything.
"""

import random
import struct
from collections.abc import Iterator
from typing import Final

import pytest
from pamqp import commands

from tests.clients.peers import Peer, Peers, log_lines
from tests.support.brokers import Broker, Leveret, wait_until
from tests.support.wire import (
    BODY,
    HEADER,
    METHOD,
    PROTOCOL_HEADER,
    ClosedByServerError,
    long_string,
    raw_frame,
    raw_header,
    raw_method,
    raw_table,
    short_string,
)

DEADLINE_S = 60.0

HTTP = b"GET /api/overview HTTP/1.1\r\nHost: localhost:5672\r\n\r\n"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
SSL_PROBE = bytes.fromhex("16030300c8010000c40303") + bytes(range(190))


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    """A broker for them all: what one does must not be seen by the next."""
    with Leveret() as leveret:
        yield leveret


@pytest.fixture
def peers(broker: Broker) -> Iterator[Peers]:
    """Connections to it."""
    with Peers(broker) as opened:
        yield opened


@pytest.fixture(scope="module")
def bystander(broker: Broker) -> Iterator[Peer]:
    """A connection that is open all the time, with a consumer on a queue."""
    with Peers(broker) as opened:
        peer = opened.log_in()
        peer.declare("bystander")
        peer.consume("bystander")
        yield peer


def assert_unharmed(bystander: Peer, broker: Broker) -> None:
    """The bystander's next message arrives, and nothing of the broker's own went wrong."""
    bystander.publish("bystander", b"still here")
    assert bystander.read_content() == b"still here"
    assert "Traceback" not in broker.log_text()
    assert "internal error" not in broker.log_text()


def warnings(broker: Broker, peer: Peer) -> list[str]:
    """What the log complains of about a peer."""
    return [line for line in log_lines(broker, peer.log_field) if " warning " in line]


# --- before the protocol header -------------------------------------------------------------

FOREIGN: Final[dict[str, bytes]] = {
    "an HTTP request": HTTP,
    "a TLS handshake": TLS_HELLO,
    "a TLS handshake of a record version of its own": SSL_PROBE,
    "AMQP 1.0": b"AMQP\x00\x01\x00\x00",
    "no AMQP": b"\x00\x0bhello world" * 1_000,
    "no AMQP, at random": random.Random(1).randbytes(100_000),
    "no AMQP, all ones": b"\xff" * 8,
}


@pytest.mark.parametrize("what", FOREIGN)
def test_another_protocol_is_answered_with_the_header_and_named_in_the_log(
    peers: Peers, broker: Leveret, bystander: Peer, what: str
) -> None:
    peer = peers.connect()

    peer.send_bytes(FOREIGN[what])

    assert peer.read_until_closed() == PROTOCOL_HEADER
    (line,) = log_lines(broker, peer.log_field)
    assert "wrong protocol" in line
    assert what.split(" of a record")[0].split(",")[0] in line
    assert_unharmed(bystander, broker)


# --- before login ---------------------------------------------------------------------------


def deep(levels: int) -> bytes:
    """A table in a table in a table ..."""
    value = raw_table()
    for _ in range(levels):
        value = raw_table(("a", b"F", value))
    return value


def start_ok(mechanism: bytes, response: bytes, properties: bytes | None = None) -> bytes:
    """start-ok with any octets for its fields."""
    table = raw_table() if properties is None else properties
    arguments = table + short_string(mechanism) + long_string(response) + short_string("en_US")
    return raw_method(0, 10, 11, arguments)


BEFORE_LOGIN: Final[dict[str, bytes]] = {
    "a frame of 4 GiB": b"\x01\0\0\xff\xff\xff\xff",
    "a method without login": raw_method(0, 10, 40, short_string("/") + b"\0\0"),
    "a method on a channel": raw_method(1, 20, 10, b"\0"),
    "content": raw_header(1, 60, 5),
    "an unknown method": raw_method(0, 10, 99),
    "an unknown mechanism": start_ok(b"SCRAM", b""),
    "PLAIN without a password": start_ok(b"PLAIN", b"guest"),
    "PLAIN that is not UTF-8": start_ok(b"PLAIN", b"\0\xff\xfe\0\xff"),
    "AMQPLAIN of rubbish": start_ok(b"AMQPLAIN", b"\x05LOGINS\xff\xff\xff\xff"),
    "a mechanism that is not UTF-8": start_ok(b"\xff\xfe", b""),
    "properties that lie about their length": start_ok(b"PLAIN", b"", b"\xff\xff\xff\xff"),
    "properties nested 1,000 deep": start_ok(b"PLAIN", b"", deep(1_000)),
    "the wrong frame end": raw_frame(METHOD, 0, b"\0\x0a\0\x0b", end=0),
    "a second protocol header": PROTOCOL_HEADER,
    "rubbish": random.Random(2).randbytes(4_000),
}


@pytest.mark.parametrize("what", BEFORE_LOGIN)
def test_who_is_not_logged_in_is_told_or_cut(
    peers: Peers, broker: Leveret, bystander: Peer, what: str
) -> None:
    peer = peers.connect()
    peer.send_bytes(PROTOCOL_HEADER)
    peer.read_one(commands.Connection.Start)

    peer.send_bytes(BEFORE_LOGIN[what])

    answer = peer.read_close()
    assert answer is None or (answer.reply_code or 0) >= 400
    assert len(warnings(broker, peer)) == 1
    assert_unharmed(bystander, broker)


# --- after login ----------------------------------------------------------------------------

PUBLISH: Final = raw_method(1, 60, 40, b"\0\0" + short_string("") + short_string("gone") + b"\0")

NULL_HOST: Final = raw_method(1, 60, 40, b"\0\0" + short_string("nowhere") + b"\0\0")


def declare(arguments: bytes) -> bytes:
    return raw_method(1, 50, 10, b"\0\0" + short_string("hostile") + b"\0" + arguments)


def deep_array(levels: int) -> bytes:
    """An array in an array in an array ... in a table."""
    value = long_string(b"")
    for _ in range(levels):
        value = long_string(b"A" + value)
    return raw_table(("a", b"A", value))


AFTER_LOGIN: Final[dict[str, bytes]] = {
    "a frame of 4 GiB": b"\x03\0\x01\xff\xff\xff\xff",
    "a frame a little too large": b"\x03\0\x01" + struct.pack(">I", 131_073),
    "the wrong frame end": raw_frame(METHOD, 1, b"\0\x3c\0\x0a", end=0),
    "an unknown frame type": raw_frame(7, 1, b"?"),
    "an empty method": raw_frame(METHOD, 1, b""),
    "a method of 3 octets": raw_frame(METHOD, 1, b"\0\x3c\0"),
    "an unknown class": raw_method(1, 999, 1),
    "an unknown method": raw_method(1, 60, 999),
    "a method of the server": raw_method(1, 60, 60, b"\0" * 12),
    "a heartbeat with a payload": raw_frame(8, 0, b"?"),
    "a heartbeat on a channel": raw_frame(8, 1, b""),
    "a channel method on channel 0": raw_method(0, 50, 10, b"\0" * 8),
    "a connection method on a channel": raw_method(1, 10, 40, b"\0" * 8),
    "a channel that is not open": raw_method(65_535, 50, 10, b"\0" * 8),
    "a body without a method": raw_frame(BODY, 1, b"?"),
    "a header without a method": raw_header(1, 60, 5),
    "a header cut short": PUBLISH + raw_frame(HEADER, 1, b"\0\x3c\0\0"),
    "a header of another class": PUBLISH + raw_header(1, 50, 5),
    "a body larger than said": PUBLISH + raw_header(1, 60, 2) + raw_frame(BODY, 1, b"???"),
    "a method in the middle of content": PUBLISH + PUBLISH,
    "a header that lies about a string": PUBLISH + raw_header(1, 60, 5, b"\x80\0\xff?"),
    "a header that lies about its table": PUBLISH + raw_header(1, 60, 5, b"\x20\0\xff\xff\xff\xff"),
    "a header with flags and no values": PUBLISH + raw_header(1, 60, 5, b"\xff\xfc"),
    "a header with more flags to come": PUBLISH + raw_header(1, 60, 5, b"\xff\xff\xff\xff"),
    "a header with octets left over": PUBLISH + raw_header(1, 60, 5, b"\0\0?"),
    "a header nested 10,000 deep": PUBLISH + raw_header(1, 60, 5, b"\x20\0" + deep(10_000)),
    "tables nested 10,000 deep": declare(deep(10_000)),
    "arrays nested 10,000 deep": declare(deep_array(10_000)),
    "a table that lies about its length": declare(b"\xff\xff\xff\xff"),
    "a table with a name cut short": declare(long_string(b"\xff?")),
    "a table with a value cut short": declare(raw_table(("a", b"l", b"\0"))),
    "a table with an unknown type": declare(raw_table(("a", b"?", b"\0"))),
    "a name that lies about its length": raw_method(1, 50, 10, b"\0\0\xff?"),
    "a name that is not UTF-8": raw_method(
        1, 50, 10, b"\0\0" + short_string(b"\xff\xfe") + b"\0" + raw_table()
    ),
    "arguments missing": raw_method(1, 50, 10),
    "arguments left over": declare(raw_table() + b"?"),
    "publish cut short": raw_method(1, 60, 40, b"\0\0\xff"),
    "publish without flags": raw_method(1, 60, 40, b"\0\0\0\0"),
    "ack cut short": raw_method(1, 60, 80, b"\0"),
    "nack cut short": raw_method(1, 60, 120),
    "an HTTP request": HTTP,
    "a second protocol header": PROTOCOL_HEADER,
    "rubbish": random.Random(3).randbytes(50_000),
}


@pytest.mark.parametrize("what", AFTER_LOGIN)
def test_wrong_octets_close_the_connection_and_no_other(
    peers: Peers, broker: Leveret, bystander: Peer, what: str
) -> None:
    peer = peers.log_in()

    peer.send_bytes(AFTER_LOGIN[what])

    close = peer.read_close()
    assert close is not None
    assert close.reply_text.startswith(
        ("FRAME_ERROR", "SYNTAX_ERROR", "COMMAND_INVALID", "CHANNEL_ERROR", "UNEXPECTED_FRAME")
    )
    (line,) = warnings(broker, peer)
    assert f"code={close.reply_code}" in line
    assert_unharmed(bystander, broker)


SOFT: Final[dict[str, bytes]] = {
    "an unknown delivery tag": raw_method(1, 60, 80, b"\xff" * 8 + b"\0"),
    "an unknown queue": raw_method(1, 50, 30, b"\0\0" + short_string("nowhere") + b"\0"),
    "an unknown exchange": NULL_HOST + raw_header(1, 60, 1) + raw_frame(BODY, 1, b"?"),
    "a message of 16 EiB": PUBLISH + raw_header(1, 60, 2**64 - 1),
    "a user-id of another": PUBLISH
    + raw_header(1, 60, 1, b"\0\x10" + short_string("root"))
    + raw_frame(BODY, 1, b"?"),
    "an expiration that is no number": PUBLISH
    + raw_header(1, 60, 1, b"\x01\0" + short_string("soon"))
    + raw_frame(BODY, 1, b"?"),
}


@pytest.mark.parametrize("what", SOFT)
def test_what_is_wrong_with_a_channel_leaves_the_connection_open(
    peers: Peers, broker: Leveret, bystander: Peer, what: str
) -> None:
    peer = peers.log_in()
    peer.open_channel(2)

    peer.send_bytes(SOFT[what] * 3)

    close = peer.read_one(commands.Channel.Close)
    assert close.reply_code in (403, 404, 406)
    peer.open_channel(3)
    (line,) = warnings(broker, peer)
    assert f"code={close.reply_code}" in line
    assert_unharmed(bystander, broker)


def test_why_it_is_closed_reaches_a_publisher_with_content_under_way(
    peers: Peers, broker: Leveret
) -> None:
    peer = peers.log_in()
    peer.declare("hostile")
    content = PUBLISH + raw_header(1, 60, 100) + raw_frame(BODY, 1, b"." * 100)

    peer.send_bytes(content * 100 + raw_method(1, 60, 999) + content * 20_000)

    close = peer.read_one(commands.Connection.Close)
    assert close.reply_code == 503
    peer.send(commands.Connection.CloseOk())
    assert peer.read_until_closed() == b""
    assert len(warnings(broker, peer)) == 1


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits_harm_nobody_else(
    peers: Peers, broker: Leveret, bystander: Peer, seed: int
) -> None:
    chance = random.Random(seed)
    content = PUBLISH + raw_header(1, 60, 50) + raw_frame(BODY, 1, b"." * 50)
    script = (declare(raw_table(("x-a", b"S", long_string("b")))) + content) * 20
    for _ in range(10):
        peer = peers.log_in()
        octets = bytearray(script)
        for _ in range(3):
            octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
        try:
            peer.send_bytes(bytes(octets))
        except ClosedByServerError:
            continue
        peer.reset()
    assert_unharmed(bystander, broker)


def test_resets_at_every_stage_leave_nothing_behind(
    peers: Peers, broker: Leveret, bystander: Peer
) -> None:
    content = PUBLISH + raw_header(1, 60, 5_000) + raw_frame(BODY, 1, b"." * 2_000)
    stages = [b"", b"AMQP", PROTOCOL_HEADER, PROTOCOL_HEADER + b"\x01\0\0\0\0"]
    for said in stages * 5:
        peer = peers.connect()
        peer.send_bytes(said)
        peer.reset()
    for said in [content, content[:-1], content[:40], declare(raw_table())[:-3]] * 5:
        peer = peers.log_in()
        peer.send_bytes(said)
        peer.reset()
    for _ in range(5):
        peer = peers.log_in()
        peer.declare("deliveries")
        for _ in range(100):
            peer.publish("deliveries", b"." * 10_000)
        peer.consume("deliveries", no_ack=False)
        peer.reset()

    wait_until(lambda: bystander.count("deliveries") == 500, DEADLINE_S, "all given back")
    bystander.delete("deliveries")
    assert_unharmed(bystander, broker)
