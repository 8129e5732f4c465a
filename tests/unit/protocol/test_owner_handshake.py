"""The handshake with the owner of a virtual host, in the role of the client, octets in and out."""

import pytest
from pamqp import commands
from pamqp.frame import marshal, unmarshal

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.protocol.connections.owner_handshake import HandshakeError, OwnerHandshake
from leveret.protocol.connections.passing_on import PassingOn, introduction
from leveret.protocol.wire.greeting import PROTOCOL_HEADER

LOGIN = commands.Connection.StartOk(
    client_properties={"product": "x", "n": 7, "inner": {"yes": True}},
    mechanism="PLAIN",
    response="\0guest\0secret",
    locale="de_DE",
)
START = marshal(commands.Connection.Start(), 0)
TUNE = marshal(commands.Connection.Tune(2047, 131072, 60), 0)
OPEN_OK = marshal(commands.Connection.OpenOk(), 0)


def handshake() -> OwnerHandshake:
    said = introduction(marshal(LOGIN, 0)[7:-1])
    return OwnerHandshake(
        PassingOn("red", said, (9, 8192, 17), Broker(Config()), "guest", _nothing, _refuse)
    )


def _nothing() -> None:
    return


def _refuse(error: Exception) -> None:
    raise error


def read(data: bytes) -> list[object]:
    found: list[object] = []
    while data:
        size, _, method = unmarshal(data)
        found.append(method)
        data = data[size:]
    return found


def test_what_the_client_has_said_is_said_again_and_no_password() -> None:
    one = handshake()
    assert one.begin() == PROTOCOL_HEADER
    answer = b""
    for octet in START + TUNE:
        answer += one.receive(bytes((octet,)))
    start_ok, tune_ok, opening = read(answer)
    assert isinstance(start_ok, commands.Connection.StartOk)
    assert start_ok.client_properties == LOGIN.client_properties
    assert (start_ok.mechanism, start_ok.response) == ("EXTERNAL", "")
    assert isinstance(tune_ok, commands.Connection.TuneOk)
    assert (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat) == (9, 8192, 17)
    assert isinstance(opening, commands.Connection.Open)
    assert opening.virtual_host == "red"
    assert b"secret" not in answer
    before = one.opened
    assert one.receive(OPEN_OK + b"what follows") == b""
    assert (before, one.opened) == (False, True)
    assert one.rest == b"what follows"


def test_a_refusal_is_answered() -> None:
    one = handshake()
    close = commands.Connection.Close(530, "NOT_ALLOWED - no", 10, 40)
    (answer,) = read(one.receive(marshal(close, 0)))
    assert isinstance(answer, commands.Connection.CloseOk)
    assert one.refusal is not None
    assert one.refusal.reply_text == "NOT_ALLOWED - no"


def test_a_heartbeat_is_no_answer() -> None:
    one = handshake()
    assert one.receive(b"\x08\0\0\0\0\0\0\xce") == b""
    assert len(read(one.receive(START))) == 1


@pytest.mark.parametrize(
    "data",
    [
        PROTOCOL_HEADER,
        b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\0",
        b"\x01\0\0\x7f\0\0\0\0",
        b"\x02\0\0\0\0\0\0\xce",
        marshal(commands.Channel.OpenOk(), 0),
        marshal(commands.Connection.OpenOk(), 1),
        b"\x01\0\0\0\0\0\x02\0\x0a\xce",
    ],
)
def test_anything_else_ends_it(data: bytes) -> None:
    with pytest.raises(HandshakeError):
        handshake().receive(data)
