"""Output that waits for the store: what leaves, when, and in which order."""

from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Channel, Connection

from leveret.protocol.channels.durability_gate import Withheld
from leveret.protocol.wire.frames import HEARTBEAT
from tests.protocol import wire

OPEN_OK = wire.says(1, Channel.OpenOk())
BLOCKED = wire.says(0, Connection.Blocked("disk"))
CLOSE_OK = wire.says(0, Connection.CloseOk())

frames = st.tuples(st.sampled_from([1, 2, 40_000]), st.binary(max_size=3))
"""A channel, and a payload."""

turns = st.lists(
    st.tuples(
        st.lists(st.tuples(frames, st.integers(0, 2))),
        st.integers(0, 2),
    ),
    max_size=8,
)
"""For each flush: frames, each with the number of batches that it and its channel have to wait for
(0 for none), and how many become safe before it."""


@given(turns)
def test_a_channel_says_everything_in_order_and_nothing_before_it_is_safe(
    flushes: list[tuple[list[tuple[tuple[int, bytes], int]], int]],
) -> None:
    withheld = Withheld()
    said: dict[int, list[bytes]] = {}
    left: dict[int, list[bytes]] = {}
    safe_at: dict[bytes, int] = {}
    batch, synced, number = 1, 0, 0
    for said_now, further in [*flushes, ([], 1000)]:
        output = b""
        for (channel, payload), ahead in said_now:
            number += 1
            frame = wire.frame(wire.BODY, channel, payload + number.to_bytes(2, "big"))
            if ahead:
                batch = max(batch, synced + ahead)
                withheld.mark(len(output), channel, batch)
                safe_at[frame] = batch
            output += frame
            said.setdefault(channel, []).append(frame)
        synced = max(synced, min(synced + further, batch))
        for frame in wire.frames_in(withheld.leave(output, synced)):
            assert safe_at.get(frame, 0) <= synced
            channel = int.from_bytes(frame[1:3], "big")
            left.setdefault(channel, []).append(frame)
        waiting = sum(len(frame) for channel in said for frame in said[channel])
        waiting -= sum(len(frame) for channel in left for frame in left[channel])
        assert withheld.bytes == waiting
    assert left == said
    assert withheld.is_empty()


def test_a_channel_that_has_nothing_to_wait_for_goes_on() -> None:
    withheld = Withheld()
    one, two = wire.frame(wire.BODY, 1, b"1"), wire.frame(wire.BODY, 2, b"2")
    withheld.mark(len(one), 1, 5)
    assert withheld.leave(one + one + two + one, 4) == one + two
    assert withheld.leave(two + one, 4) == two
    assert withheld.leave(two, 5) == one * 3 + two
    assert withheld.is_empty()


def test_what_promises_nothing_passes_and_a_close_is_last() -> None:
    withheld = Withheld()
    withheld.mark(0, 1, 5)
    output = OPEN_OK + HEARTBEAT + BLOCKED + CLOSE_OK + HEARTBEAT
    assert withheld.leave(output, 4) == HEARTBEAT + BLOCKED
    assert withheld.leave(b"", 5) == OPEN_OK + CLOSE_OK + HEARTBEAT


def test_a_close_passes_where_nothing_waits_any_more() -> None:
    withheld = Withheld()
    withheld.mark(0, 1, 5)
    assert withheld.leave(OPEN_OK + CLOSE_OK, 5) == OPEN_OK + CLOSE_OK
    assert withheld.is_empty()


def test_what_will_never_be_safe_is_dropped_and_nothing_else() -> None:
    withheld = Withheld()
    withheld.mark(0, 1, 5)
    other = wire.says(2, Channel.OpenOk())
    assert withheld.drop(OPEN_OK + other, 4) == other
    assert withheld.is_empty()
    assert withheld.bytes == 0
