"""Frames that wait for their commit: which leave, when, and in which order."""

from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Channel, Connection

from leveret.protocol.channels.durability_gate import DurabilityGate
from leveret.protocol.wire.frames import HEARTBEAT
from tests.protocol import wire

OPEN_OK = wire.method_frames(1, Channel.OpenOk())
BLOCKED = wire.method_frames(0, Connection.Blocked("disk"))
CLOSE_OK = wire.method_frames(0, Connection.CloseOk())

frames = st.tuples(st.sampled_from([1, 2, 40_000]), st.binary(max_size=3))
"""A channel, and a payload."""

flush_rounds = st.lists(
    st.tuples(
        st.lists(st.tuples(frames, st.integers(0, 2))),
        st.integers(0, 2),
    ),
    max_size=8,
)
"""For each flush: frames, each with the number of batches that it and its channel have to wait for
(0 for none), and how many are synced before it."""


@given(flush_rounds)
def test_all_frames_of_a_channel_leave_in_order_and_none_before_its_batch_is_synced(
    flushes: list[tuple[list[tuple[tuple[int, bytes], int]], int]],
) -> None:
    gate = DurabilityGate()
    sent: dict[int, list[bytes]] = {}
    left: dict[int, list[bytes]] = {}
    batch_of: dict[bytes, int] = {}
    batch, synced, number = 1, 0, 0
    for written, further in [*flushes, ([], 1000)]:
        output = b""
        for (channel, payload), ahead in written:
            number += 1
            frame = wire.frame(wire.BODY, channel, payload + number.to_bytes(2, "big"))
            if ahead:
                batch = max(batch, synced + ahead)
                gate.hold_until(batch, channel, len(output))
                batch_of[frame] = batch
            output += frame
            sent.setdefault(channel, []).append(frame)
        synced = max(synced, min(synced + further, batch))
        for frame in wire.frames_in(gate.release(synced, output)):
            assert batch_of.get(frame, 0) <= synced
            channel = int.from_bytes(frame[1:3], "big")
            left.setdefault(channel, []).append(frame)
        waiting = sum(len(frame) for channel in sent for frame in sent[channel])
        waiting -= sum(len(frame) for channel in left for frame in left[channel])
        assert gate.held_bytes == waiting
    assert left == sent
    assert gate.is_empty()


def test_a_channel_without_held_frames_is_not_delayed() -> None:
    gate = DurabilityGate()
    one, two = wire.frame(wire.BODY, 1, b"1"), wire.frame(wire.BODY, 2, b"2")
    gate.hold_until(5, 1, len(one))
    assert gate.release(4, one + one + two + one) == one + two
    assert gate.release(4, two + one) == two
    assert gate.release(5, two) == one * 3 + two
    assert gate.is_empty()


def test_frames_without_a_promise_pass_and_connection_close_is_last() -> None:
    gate = DurabilityGate()
    gate.hold_until(5, 1, 0)
    output = OPEN_OK + HEARTBEAT + BLOCKED + CLOSE_OK + HEARTBEAT
    assert gate.release(4, output) == HEARTBEAT + BLOCKED
    assert gate.release(5, b"") == OPEN_OK + CLOSE_OK + HEARTBEAT


def test_connection_close_passes_once_nothing_is_held() -> None:
    gate = DurabilityGate()
    gate.hold_until(5, 1, 0)
    assert gate.release(5, OPEN_OK + CLOSE_OK) == OPEN_OK + CLOSE_OK
    assert gate.is_empty()


def test_frames_whose_batch_will_never_be_synced_are_dropped_and_no_others() -> None:
    gate = DurabilityGate()
    gate.hold_until(5, 1, 0)
    other = wire.method_frames(2, Channel.OpenOk())
    assert gate.discard(4, OPEN_OK + other) == other
    assert gate.is_empty()
    assert gate.held_bytes == 0
