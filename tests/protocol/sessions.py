"""Whole sessions as octets, for tests that cut, mix and damage them."""

from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

from tests.protocol import wire
from tests.protocol.harness import start_ok

HANDSHAKE = [
    wire.PROTOCOL_HEADER,
    wire.method_frames(0, start_ok()),
    wire.method_frames(0, Connection.TuneOk(2047, 4096, 0)),
    wire.method_frames(0, Connection.Open("/")),
]

PROPERTIES = Basic.Properties(
    content_type="text/plain", delivery_mode=2, headers={"a": 1, "b": ["x", {"c": True}]}
)


def _on(channel: int, *methods: Frame) -> list[bytes]:
    return [wire.method_frames(channel, method) for method in methods]


def _message(channel: int, key: str, body: bytes, **how: object) -> list[bytes]:
    return list(wire.frames_in(wire.publish(channel, key, body, **how)))  # type: ignore[arg-type]


SESSION = [
    *HANDSHAKE,
    *_on(1, Channel.Open()),
    *_on(
        1,
        Queue.Declare(queue="q", arguments={"x-message-ttl": 60_000}),
        Exchange.Declare(exchange="x", exchange_type="topic"),
        Queue.Bind(queue="q", exchange="x", routing_key="a.#"),
        Confirm.Select(),
        Basic.Qos(prefetch_count=2),
    ),
    *_message(1, "a.b", b"first", exchange="x", properties=PROPERTIES),
    *_message(1, "a", b"", exchange="x"),
    *_message(1, "q", bytes(9000), cut_at=4088),
    *_message(1, "nowhere", b"back", mandatory=True),
    wire.HEARTBEAT,
    *_on(1, Basic.Consume(queue="q", consumer_tag="c"), Basic.Ack(1), Basic.Reject(2, True)),
    *_on(2, Channel.Open(), Tx.Select()),
    *_message(2, "q", b"committed", properties=PROPERTIES),
    *_on(2, Tx.Commit(), Basic.Get(queue="q")),
    *_on(1, Basic.Nack(0, True, True), Basic.Cancel(consumer_tag="c")),
    *_on(2, Basic.Get(queue="q"), Queue.Purge(queue="q"), Basic.Get(queue="q", no_ack=True)),
    *_on(1, Queue.Declare(queue="none", passive=True)),
    *_message(1, "q", b"ignored"),
    *_on(1, Channel.CloseOk(), Channel.Open(), Queue.Delete(queue="q")),
    *_on(2, Channel.Close(200, "done", 0, 0)),
    wire.connection_close(),
]
"""The frames of a session in which everything has its place, an error among it."""
