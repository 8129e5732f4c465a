"""connection.open of a virtual host that is not served here: octets in, octets out."""

import pytest
from pamqp import commands
from pamqp.commands import Connection as ConnectionMethods

from leveret.engine.metadata.entities import Permission, VirtualHostEntity
from leveret.engine.placement import Placement, ServedBy
from leveret.protocol.channels.peer import Peer, Vouched
from leveret.protocol.connections.connection import Connection
from leveret.protocol.connections.passing_on import PassingOn
from leveret.protocol.states import ConnectionState
from tests.protocol import wire
from tests.protocol.harness import Harness, Log, start_ok

SLICE = 16_384
BEHIND = wire.method_frames(1, commands.Channel.Open())
DOWN = "INTERNAL_ERROR - access to vhost 'red' refused for user 'guest': vhost 'red' is down"


class Elsewhere(Placement):
    """Another broker serves everything, or this one does."""

    is_local = False

    def store_of(self, vhost: str) -> int:
        return 0

    def served_by(self, vhost: str) -> ServedBy | None:
        return ServedBy("b", "127.0.0.1:1", self.is_local)


class Opening:
    """A client of a broker that serves no virtual host `red`, up to connection.open."""

    def __init__(self, harness: Harness, vouched: Vouched | None = None) -> None:
        self.broker = harness.broker
        self.asked: list[PassingOn] = []
        """What the transport was asked to pass on."""
        self.connection = Connection(
            self.broker,
            lambda: None,
            Log(),
            peer=Peer("192.0.2.1:1", "192.0.2.2:2", from_loopback=True, vouched=vouched),
            now=0.0,
            pass_on=self.asked.append,
        )
        self.feed(wire.PROTOCOL_HEADER)

    def log_in(self, *behind: bytes) -> None:
        tune_ok = ConnectionMethods.TuneOk(9, 8192, 17)
        opening = (start_ok(), tune_ok, ConnectionMethods.Open("red"))
        self.feed(wire.method_frames(0, *opening) + b"".join(behind))

    def feed(self, data: bytes) -> bool:
        self.broker.time_slice.begin(10**12)
        return self.connection.feed(data, SLICE)

    def received(self) -> list[object]:
        """The methods that were received since the last call."""
        return [method for _, method in wire.decode(self.connection.session.take_output())]

    def last(self) -> object:
        return self.received()[-1]


@pytest.fixture
def elsewhere(harness: Harness) -> Elsewhere:
    harness.add_vhost("red")
    harness.broker.drop_vhost("red")
    placement = Elsewhere()
    harness.broker.placement = placement
    return placement


def close_of(client: Opening) -> ConnectionMethods.Close:
    close = client.last()
    assert isinstance(close, ConnectionMethods.Close)
    return close


def test_the_transport_is_asked_and_gets_what_is_behind(
    harness: Harness, elsewhere: Elsewhere
) -> None:
    client = Opening(harness)
    client.log_in(BEHIND)
    assert client.connection.state == ConnectionState.PASSING_ON
    assert isinstance(client.last(), ConnectionMethods.Tune)
    (asked,) = client.asked
    assert (asked.vhost, asked.limits) == ("red", (9, 8192, 17))
    assert client.feed(BEHIND[:5])
    ended: list[bool] = []
    asked.ended = lambda: ended.append(True)
    assert client.connection.passed_on() == BEHIND + BEHIND[:5]
    assert client.received() == []
    assert client.connection.finished
    assert ended == [True]


def test_it_is_opened_here_when_it_is_served_here(harness: Harness, elsewhere: Elsewhere) -> None:
    client = Opening(harness)
    client.log_in(BEHIND)
    assert client.connection.work(SLICE)
    client.received()
    harness.broker.create_vhost("red")
    while client.connection.work(SLICE):
        pass
    opened, channel = client.received()
    assert isinstance(opened, ConnectionMethods.OpenOk)
    assert isinstance(channel, commands.Channel.OpenOk)
    assert client.connection.passing_on is None
    client.connection.disconnected()
    harness.broker.work.run_all(harness.broker.time_slice)


def test_it_is_down_when_the_time_for_the_handshake_is_over(
    harness: Harness, elsewhere: Elsewhere
) -> None:
    client = Opening(harness)
    client.log_in()
    client.received()
    timeout = harness.broker.config.amqp.handshake_timeout
    client.connection.tick(timeout - 1)
    assert client.received() == []
    client.connection.tick(timeout)
    close = close_of(client)
    assert (close.reply_code, close.reply_text) == (541, DOWN)
    client.feed(wire.method_frames(0, ConnectionMethods.CloseOk()))
    assert client.connection.finished


def test_it_is_closed_when_the_broker_stops(harness: Harness, elsewhere: Elsewhere) -> None:
    client = Opening(harness)
    client.log_in()
    client.connection.force_close("shutdown")
    assert close_of(client).reply_code == 320
    client.connection.disconnected()


def test_what_does_not_exist_or_is_not_allowed_is_refused_here(
    harness: Harness, elsewhere: Elsewhere
) -> None:
    harness.broker.metadata.delete(Permission, "guest", "red")
    client = Opening(harness)
    client.log_in()
    close = close_of(client)
    assert close.reply_text == "NOT_ALLOWED - access to vhost 'red' refused for user 'guest'"
    assert client.asked == []
    client.connection.disconnected()
    harness.broker.metadata.delete(VirtualHostEntity, "red")
    client = Opening(harness)
    client.log_in()
    assert close_of(client).reply_text == "NOT_ALLOWED - vhost red not found"
    client.connection.disconnected()


@pytest.mark.parametrize("is_local", [True, False])
def test_what_was_passed_on_waits_for_this_broker_alone(
    harness: Harness, elsewhere: Elsewhere, is_local: bool
) -> None:
    elsewhere.is_local = is_local
    client = Opening(harness, Vouched("guest", "a", b"", None))
    login = start_ok()
    login.mechanism, login.response = "EXTERNAL", ""
    tune_ok = ConnectionMethods.TuneOk(9, 8192, 17)
    client.feed(wire.method_frames(0, login, tune_ok, ConnectionMethods.Open("red")))
    if is_local:
        assert client.connection.state == ConnectionState.PASSING_ON
    else:
        close = close_of(client)
        assert (close.reply_code, close.reply_text) == (541, DOWN)
    client.connection.disconnected()


def test_only_a_broker_logs_a_user_in_without_a_password(harness: Harness) -> None:
    client = Opening(harness)
    (start,) = client.received()
    assert isinstance(start, ConnectionMethods.Start)
    assert "EXTERNAL" not in str(start.mechanisms)
    login = start_ok()
    login.mechanism, login.response = "EXTERNAL", ""
    client.feed(wire.method_frames(0, login))
    assert close_of(client).reply_code == 503
    client.connection.disconnected()
