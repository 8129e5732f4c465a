"""Any broker serves any client: what a client sees whose virtual host another broker serves."""

import asyncio
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import aio_pika
import pika
import pika.exceptions
import pytest
import trustme
from pamqp import commands
from pamqp.frame import marshal, unmarshal
from pika.adapters.blocking_connection import BlockingChannel

from leveret.addresses import parse_address
from leveret.engine.metadata.entities import Entity, Key, Permission, VirtualHostEntity
from leveret.net import cluster_listener
from leveret.net.link_proof import AMQP
from leveret.net.links import LinkError
from leveret.protocol.wire.greeting import PROTOCOL_HEADER
from tests.support.brokers import wait_until
from tests.support.cluster_servers import ClusterServers

TIMEOUT_S = 60.0
SIZES = (0, 1, 100, 4088, 4089, 131_072, 1_000_000, 8_000_000)


@pytest.fixture
def two() -> Iterator[ClusterServers]:
    """Two brokers, of which `b` serves everything."""
    with ClusterServers("a", "b") as servers:
        servers.own("/", "b")
        yield servers


def connect(servers: ClusterServers, node: str, **options: Any) -> pika.BlockingConnection:
    """A client of a broker."""
    defaults = {"blocked_connection_timeout": TIMEOUT_S, "socket_timeout": TIMEOUT_S}
    defaults["stack_timeout"] = TIMEOUT_S
    parameters = pika.ConnectionParameters("127.0.0.1", servers.port(node), **(defaults | options))
    return pika.BlockingConnection(parameters)


def raw_client(
    servers: ClusterServers, node: str, *behind: bytes, heartbeat: int = 0
) -> socket.socket:
    """A socket on which a whole handshake is sent at once, with what is behind it."""
    login = commands.Connection.StartOk(
        client_properties={}, mechanism="PLAIN", response="\0guest\0guest", locale="en_US"
    )
    sock = socket.create_connection(("127.0.0.1", servers.port(node)), TIMEOUT_S)
    sock.sendall(
        b"".join(
            (
                PROTOCOL_HEADER,
                marshal(login, 0),
                marshal(commands.Connection.TuneOk(10, 131072, heartbeat), 0),
                marshal(commands.Connection.Open("/"), 0),
                *behind,
            )
        )
    )
    return sock


def refused(servers: ClusterServers, node: str, **options: Any) -> str:
    """Why a broker refuses a client."""
    with pytest.raises(pika.exceptions.AMQPConnectionError) as error:
        connect(servers, node, **options)
    return str(error.value)


def process_forever(connection: pika.BlockingConnection) -> None:
    """Process what comes, until the connection is closed."""
    while True:
        connection.process_data_events(time_limit=TIMEOUT_S)


def publish_and_get(channel: BlockingChannel, bodies: list[bytes]) -> list[bytes]:
    """What comes back of messages that are published with confirms."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish("", queue, body, mandatory=True)
    found = []
    for method, _, body in channel.consume(queue, auto_ack=False):
        channel.basic_ack(method.delivery_tag)
        found.append(body)
        if len(found) == len(bodies):
            break
    channel.cancel()
    return found


def test_messages_of_all_sizes_go_through(two: ClusterServers) -> None:
    bodies = [random.Random(size).randbytes(size) for size in SIZES]
    with connect(two, "a") as connection:
        assert publish_and_get(connection.channel(), bodies) == bodies
        passed_on = two.servers["a"].passed_on
        assert (passed_on.open, passed_on.total) == (1, 1)
        assert two.servers["a"].sockets()[0] == 1
        assert len(two.servers["a"].broker.connections) == 0
        assert len(two.servers["b"].broker.connections) == 1
    wait_until(lambda: passed_on.open == 0)
    wait_until(lambda: len(two.servers["b"].broker.connections) == 0)
    wait_until(lambda: two.servers["b"].sockets()[0] == 0)


def test_the_owner_knows_the_client(two: ClusterServers) -> None:
    properties = {"connection_name": "somebody", "n": 5, "product": "something"}
    with connect(two, "a", client_properties=properties, heartbeat=17, channel_max=9):
        (connection,) = two.call(two.servers["b"].connections)
        peer = connection.session.peer
        host, _, port = peer.address.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) not in (two.port("a"), two.cluster_port("b"))
        assert peer.local == f"127.0.0.1:{two.port('a')}"
        assert peer.name == "somebody"
        assert b'"n":5' in peer.properties.replace(b" ", b"")
        assert (peer.mechanism, connection.session.user) == ("EXTERNAL", "guest")
        assert peer.from_loopback
        assert peer.vouched is not None
        assert peer.vouched.node == "a"
        assert (connection.heartbeat_s, connection.channels.most) == (17, 9)


def test_many_messages_at_once_keep_their_order(two: ClusterServers) -> None:
    count = 3_000

    async def run() -> str:
        connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{two.port('a')}/")
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("many", auto_delete=True)
            digest = hashlib.sha256()
            done = asyncio.Event()
            seen = 0

            async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                nonlocal seen
                digest.update(message.body)
                seen += 1
                if seen == count:
                    done.set()

            await queue.consume(take, no_ack=True)
            for start in range(0, count, 500):
                await asyncio.gather(
                    *(
                        channel.default_exchange.publish(
                            aio_pika.Message(b"%d" % n), routing_key="many"
                        )
                        for n in range(start, start + 500)
                    )
                )
            await asyncio.wait_for(done.wait(), TIMEOUT_S)
            return digest.hexdigest()

    expected = hashlib.sha256(b"".join(b"%d" % n for n in range(count))).hexdigest()
    assert asyncio.run(run()) == expected


def test_a_consumer_that_does_not_read_stops_the_owner(two: ClusterServers) -> None:
    """And nothing in between is unbounded; what it reads in the end is all there is."""
    body = os.urandom(1_000_000)
    count = 60
    with connect(two, "b") as connection:
        channel = connection.channel()
        channel.queue_declare("much")
        for _ in range(count):
            channel.basic_publish("", "much", body)
        slow = connect(two, "a")
        taken = slow.channel()
        digests: list[str] = []
        taken.basic_consume(
            "much",
            lambda _c, _m, _p, found: digests.append(hashlib.sha256(found).hexdigest()),
            auto_ack=True,
        )
        # It reads nothing: what is delivered is bounded by the buffers of kernel and brokers.
        previous = -1

        def is_stopped() -> bool:
            nonlocal previous
            ready = channel.queue_declare("much", passive=True).method.message_count
            stopped = bool(ready == previous and ready < count)
            previous = ready
            time.sleep(0.05)
            return stopped

        wait_until(is_stopped)
        assert previous > 0
        while len(digests) < count:
            slow.process_data_events(time_limit=1)
        assert set(digests) == {hashlib.sha256(body).hexdigest()}
        slow.close()
        channel.queue_delete("much")


def test_the_refusals_of_the_owner_reach_the_client() -> None:
    with ClusterServers("a", "b") as servers:
        servers.own("/", "b")
        two_connections = [connect(servers, "a") for _ in range(2)]
        servers.call(servers.limit_connections, "b", "/", 2)
        assert "(530)" in (text := refused(servers, "a"))
        assert "connection limit (2) is reached" in text
        for connection in two_connections:
            connection.close()


def test_unknown_virtual_hosts_and_wrong_passwords_are_refused_here(two: ClusterServers) -> None:
    assert "NOT_ALLOWED - vhost unknown not found" in refused(two, "a", virtual_host="unknown")
    wrong = pika.PlainCredentials("guest", "wrong")
    assert "ACCESS_REFUSED" in refused(two, "a", credentials=wrong)
    assert two.servers["a"].passed_on.total == 0


def test_a_channel_error_of_a_client_ends_its_channel(two: ClusterServers) -> None:
    with connect(two, "a") as connection:
        channel = connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.queue_declare("none", passive=True)
        assert closed.value.reply_code == 404
        connection.channel().queue_declare("", exclusive=True)


def test_a_connection_waits_for_an_owner() -> None:
    with ClusterServers("a", "b") as servers:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(connect(servers, "a")))
        thread.start()
        wait_until(lambda: servers.servers["a"].passed_on.waiting == 1)
        # The placement knows the owner before the owner does, and then it serves.
        servers.owners["/"] = "b"
        wait_until(lambda: servers.servers["b"].passed_on.waiting == 1)
        assert found == []
        servers.own("/", "b")
        thread.join(TIMEOUT_S)
        with found[0] as connection:
            assert publish_and_get(connection.channel(), [b"x"]) == [b"x"]
        assert servers.servers["a"].passed_on.total == 1


def test_a_virtual_host_that_moves_on_while_its_owner_waits_is_found() -> None:
    """A broker to which a connection was passed on does not pass it on again."""
    with ClusterServers("a", "b", "c") as servers:
        servers.owners["/"] = "b"
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(connect(servers, "a")))
        thread.start()
        wait_until(lambda: servers.servers["b"].passed_on.waiting == 1)
        servers.own("/", "c")
        thread.join(TIMEOUT_S)
        with found[0] as connection:
            assert publish_and_get(connection.channel(), [b"x"]) == [b"x"]
        assert servers.servers["b"].passed_on.total == 0
        assert servers.servers["a"].passed_on.total == 1


def test_a_connection_is_opened_here_if_this_broker_becomes_the_owner() -> None:
    with ClusterServers("a", "b") as servers:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(connect(servers, "a")))
        thread.start()
        wait_until(lambda: servers.servers["a"].passed_on.waiting == 1)
        servers.own("/", "a")
        thread.join(TIMEOUT_S)
        with found[0] as connection:
            assert publish_and_get(connection.channel(), [b"x"]) == [b"x"]
            assert len(servers.servers["a"].broker.connections) == 1
        assert servers.servers["a"].passed_on.total == 0
        assert servers.servers["a"].passed_on.waiting == 0


def test_without_an_owner_the_virtual_host_is_down() -> None:
    servers = ClusterServers("a", "b")
    servers.amqp["handshake_timeout"] = 2
    with servers:
        down = "INTERNAL_ERROR - access to vhost '/' refused for user 'guest': vhost '/' is down"
        assert f'(541) "{down}"' in refused(servers, "a")
        wait_until(lambda: servers.servers["a"].sockets()[0] == 0)
        assert servers.servers["a"].passed_on.waiting == 0


@pytest.mark.parametrize(
    ("kind", "key", "reason"),
    [
        (Permission, ("guest", "/"), "access to vhost '/' refused for user 'guest'"),
        (VirtualHostEntity, ("/",), "vhost / not found"),
    ],
)
def test_what_is_taken_away_while_a_client_waits_refuses_it(
    kind: type[Entity], key: Key, reason: str
) -> None:
    with ClusterServers("a", "b") as servers:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(refused(servers, "a")))
        thread.start()
        server = servers.servers["a"]
        wait_until(lambda: server.passed_on.waiting == 1)
        servers.call(server.broker.metadata.delete, kind, *key)
        thread.join(TIMEOUT_S)
        assert reason in found[0]


def test_a_client_that_goes_while_it_waits_is_forgotten() -> None:
    with ClusterServers("a", "b") as servers:
        with raw_client(servers, "a"):
            wait_until(lambda: servers.servers["a"].passed_on.waiting == 1)
        wait_until(lambda: servers.servers["a"].sockets()[0] == 0)
        assert servers.servers["a"].passed_on.waiting == 0


def test_another_secret_passes_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_listener, "FAILED_DELAY_S", 0.05)
    servers = ClusterServers("a", "b", secrets={"a": "another secret, as long"})
    servers.amqp["handshake_timeout"] = 2
    with servers:
        servers.own("/", "b")
        assert "(541)" in refused(servers, "a")
        assert servers.servers["a"].passed_on.failures > 0


def test_the_death_of_the_owner_ends_the_connection(two: ClusterServers) -> None:
    connection = connect(two, "a")
    channel = connection.channel()
    two.kill("b")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        channel.queue_declare("", exclusive=True)
    wait_until(lambda: two.servers["a"].passed_on.open == 0)


def test_an_owner_that_stops_says_so(two: ClusterServers) -> None:
    connection = connect(two, "a")
    stopping = threading.Thread(target=two.stop, args=("b", TIMEOUT_S))
    stopping.start()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        process_forever(connection)
    assert closed.value.reply_code == 320
    stopping.join()


def test_a_broker_that_passes_on_says_that_it_stops(two: ClusterServers) -> None:
    """In the midst of deliveries: the owner knows where a frame ends."""
    connection = connect(two, "a")
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    seen: list[bytes] = []
    channel.basic_consume(queue, lambda _c, _m, _p, body: seen.append(body), auto_ack=True)
    for _ in range(50):
        channel.basic_publish("", queue, b"x" * 100_000)
    stopping = threading.Thread(target=two.stop, args=("a", TIMEOUT_S))
    stopping.start()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        process_forever(connection)
    assert closed.value.reply_code == 320
    assert closed.value.reply_text == "CONNECTION_FORCED - shutdown"
    stopping.join()
    wait_until(lambda: len(two.servers["b"].broker.connections) == 0)


def test_connections_to_a_former_owner_that_stands_still_are_cut(two: ClusterServers) -> None:
    connection = connect(two, "a")
    # The placement names another one, and the owner does not close.
    two.owners["/"] = "c"
    two.addresses["c"] = "127.0.0.1:1"
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        process_forever(connection)
    wait_until(lambda: len(two.servers["b"].broker.connections) == 0)


@pytest.mark.parametrize("how", ["reset", "end"])
def test_the_end_of_the_client_is_the_end_at_the_owner(two: ClusterServers, how: str) -> None:
    with raw_client(two, "a") as sock:
        wait_until(lambda: len(two.servers["b"].broker.connections) == 1)
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: len(two.servers["b"].broker.connections) == 0)
    wait_until(lambda: two.servers["a"].passed_on.open == 0)


def test_heartbeats_go_through(two: ClusterServers) -> None:
    """The owner sends them, and takes a client to be gone that sends none."""
    with raw_client(two, "a", heartbeat=1) as sock:
        answer = b""
        with suppress(ConnectionResetError):
            while data := sock.recv(65536):
                answer += data
    assert b"\xce\x08\0\0\0\0\0\0\xce" in answer
    wait_until(lambda: two.servers["a"].passed_on.open == 0)


def test_a_client_that_sends_garbage_behind_the_pass_is_closed(two: ClusterServers) -> None:
    with raw_client(two, "a") as sock:
        wait_until(lambda: len(two.servers["b"].broker.connections) == 1)
        with suppress(OSError):
            sock.sendall(b"\xff" * 100_000)
        answer = b""
        with suppress(ConnectionResetError):
            while data := sock.recv(65536):
                answer += data
        assert b"FRAME_ERROR" in answer
    wait_until(lambda: len(two.servers["b"].broker.connections) == 0)
    with connect(two, "a") as other:
        assert publish_and_get(other.channel(), [b"x"]) == [b"x"]


def test_what_a_client_sends_behind_connection_open_is_passed_on(two: ClusterServers) -> None:
    """Without waiting for any answer."""
    behind = (
        marshal(commands.Channel.Open(), 1),
        marshal(commands.Queue.Declare(queue="early", auto_delete=True), 1),
    )
    with raw_client(two, "a", *behind) as sock:
        data = b""
        names: list[str] = []
        while "Queue.DeclareOk" not in names:
            data += sock.recv(65536)
            while len(data) >= 8 and len(data) >= (size := 8 + int.from_bytes(data[3:7])):
                names.append(unmarshal(data[:size])[2].name)
                data = data[size:]
    assert names == [
        "Connection.Start",
        "Connection.Tune",
        "Connection.OpenOk",
        "Channel.OpenOk",
        "Queue.DeclareOk",
    ]


# --- TLS between brokers ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The keys of the section `cluster` of brokers with certificates of two authorities."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("ours", "theirs"):
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        folder = tmp_path_factory.mktemp(name)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        broker = authority.issue_cert("broker.example", key_type=trustme.KeyType.RSA)
        broker.private_key_and_cert_chain_pem.write_to_path(str(folder / "broker.pem"))
        found[name] = {
            "certfile": str(folder / "broker.pem"),
            "cacertfile": str(folder / "ca.pem"),
        }
    return found


def test_brokers_with_certificates_need_no_secret(certificates: dict[str, dict[str, Any]]) -> None:
    bodies = [random.Random(size).randbytes(size) for size in SIZES]
    with ClusterServers("a", "b", secret="", **certificates["ours"]) as servers:
        servers.own("/", "b")
        with connect(servers, "a") as connection:
            assert publish_and_get(connection.channel(), bodies) == bodies
            (at_owner,) = servers.call(servers.servers["b"].connections)
            # The client has connected without TLS.
            assert at_owner.session.peer.tls is None
        wait_until(lambda: servers.servers["a"].passed_on.open == 0)
        connection = connect(servers, "a")
        servers.kill("b")
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            process_forever(connection)


def test_a_broker_with_a_certificate_of_another_authority_gets_no_link(
    certificates: dict[str, dict[str, Any]],
) -> None:
    with (
        ClusterServers("b", secret="", **certificates["ours"]) as servers,
        ClusterServers("a", secret="", **certificates["theirs"]) as others,
    ):
        links = others.servers["a"].links
        assert links is not None
        address = parse_address(servers.addresses["b"])
        with pytest.raises(LinkError):
            others.call(links.dial, address, "b", AMQP, TIMEOUT_S)


def test_a_broker_without_a_certificate_gets_no_link(
    certificates: dict[str, dict[str, Any]],
) -> None:
    with (
        ClusterServers("b", **certificates["ours"]) as servers,
        ClusterServers("a") as others,
    ):
        links = others.servers["a"].links
        assert links is not None
        address = parse_address(servers.addresses["b"])
        with pytest.raises(LinkError):
            others.call(links.dial, address, "b", AMQP, 1.0)
