"""Message bodies of every size a frame boundary can meet, and several channels' content at once."""

from collections.abc import Callable
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

Connect = Callable[..., pika.BlockingConnection]

FRAME_MAX = 4096
FRAME_OVERHEAD = 8
PAYLOAD_MAX = FRAME_MAX - FRAME_OVERHEAD
MEGABYTE = 1_000_000
INACTIVITY_S = 60.0


def pattern(size: int) -> bytes:
    """A body of `size` bytes in which every stretch is unlike its neighbours."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def echo(channel: BlockingChannel, queue: str, body: bytes) -> Any:
    """What comes back from a queue of its own when `body` is sent through it."""
    channel.queue_declare(queue)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body, mandatory=True)
    return channel.basic_get(queue, auto_ack=True)[2]


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        PAYLOAD_MAX - 1,
        PAYLOAD_MAX,
        PAYLOAD_MAX + 1,
        FRAME_MAX,
        2 * PAYLOAD_MAX - 1,
        2 * PAYLOAD_MAX,
        2 * PAYLOAD_MAX + 1,
    ],
)
def test_a_body_at_a_frame_boundary_comes_back_whole(
    connect: Connect, name: str, size: int
) -> None:
    channel = connect(frame_max=FRAME_MAX).channel()

    assert echo(channel, name, pattern(size)) == pattern(size)


@pytest.mark.parametrize("size", [131_072 - FRAME_OVERHEAD, 131_072 - FRAME_OVERHEAD + 1])
def test_a_body_at_the_largest_frames_boundary_comes_back_whole(
    channel: BlockingChannel, name: str, size: int
) -> None:
    assert echo(channel, name, pattern(size)) == pattern(size)


def test_a_body_of_several_megabytes_comes_back_whole(channel: BlockingChannel, name: str) -> None:
    body = pattern(5 * MEGABYTE)

    assert echo(channel, name, body) == body


@pytest.mark.parametrize(("sent_max", "read_max"), [(131_072, FRAME_MAX), (FRAME_MAX, 131_072)])
def test_a_body_crosses_between_connections_of_unlike_frame_sizes(
    connect: Connect, name: str, sent_max: int, read_max: int
) -> None:
    body = pattern(300_000)
    sender = connect(frame_max=sent_max).channel()
    sender.queue_declare(name)
    sender.confirm_delivery()
    sender.basic_publish("", name, body, mandatory=True)

    _method, _properties, read = (
        connect(frame_max=read_max).channel().basic_get(name, auto_ack=True)
    )

    assert read == body


def test_large_headers_come_back_whole(channel: BlockingChannel, name: str) -> None:
    headers = {f"key-{number}": "v" * 500 for number in range(100)}
    channel.queue_declare(name)

    channel.basic_publish("", name, b"", pika.BasicProperties(headers=headers))

    _method, properties, body = channel.basic_get(name, auto_ack=True)
    assert (properties.headers, body) == (headers, b"")


def test_many_channels_share_a_connection(connect: Connect, name: str) -> None:
    connection = connect()
    channels = [connection.channel() for _ in range(200)]
    channels[0].queue_declare(name)

    for number, channel in enumerate(channels):
        channel.basic_publish("", name, str(number).encode())
        channel.queue_declare(name, passive=True)

    bodies = [channel.basic_get(name, auto_ack=True)[2] for channel in channels]
    assert bodies == [str(number).encode() for number in range(200)]


def test_deliveries_to_interleaved_channels_keep_to_their_channel(
    connect: Connect, name: str
) -> None:
    connection = connect(frame_max=FRAME_MAX)
    received: dict[int, list[bytes]] = {number: [] for number in range(4)}
    channels = [connection.channel() for _ in received]
    for number, channel in enumerate(channels):
        channel.queue_declare(f"{name}-{number}")
        channel.basic_consume(
            f"{name}-{number}",
            lambda _c, _m, _p, body, seen=received[number]: seen.append(body),
            auto_ack=True,
        )
    bodies = {
        number: [bytes([65 + number]) * (round_ * 3000) for round_ in range(5)]
        for number in received
    }

    for round_ in range(5):
        for number, channel in enumerate(channels):
            channel.basic_publish("", f"{name}-{number}", bodies[number][round_])
    while sum(map(len, received.values())) < 20:
        connection.process_data_events(time_limit=INACTIVITY_S)

    assert received == bodies
