"""Whatever a peer sends, it gets the answer of AMQP or none, and no other peer is affected."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic, Channel, Connection

from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Harness
from tests.protocol.sessions import HANDSHAKE, SESSION
from tests.support.examples import examples

BEGUN = len(HANDSHAKE) + 1
"""Frames of the session up to the first open channel."""

HARD = {code for code in ReplyCode if code >= ReplyCode.FRAME_ERROR} | {ReplyCode.INVALID_PATH}


def plays_along(octets: list[bytes], slice_bytes: int) -> None:
    """A peer sends octets beside a working one; then all it used is released."""
    harness = Harness()
    other = harness.open_client(1)
    other.declare(1, "mine", exclusive=True)
    other.consume(1, "mine", "c")
    stranger = harness.connect()
    stranger.decodes = False
    for each in octets:
        stranger.feed_unchecked(each, slice_bytes)
    answers_as_amqp(stranger.frames)
    other.publish(1, "mine", b"still here")
    other.expect_delivery(1, "c", 1, b"still here", key="mine")
    other.send(1, Basic.Ack(1))
    other.expect_nothing()
    harness.disconnect_all()


def answers_as_amqp(frames: list[bytes]) -> None:
    """What it received is frames, with one connection.close at most, and no more behind it."""
    indexes = [wire.method_of(octets) for octets in frames]
    closes = [number for number, index in enumerate(indexes) if index == Connection.Close.index]
    assert len(closes) <= 1
    for number in closes:
        ((_, close),) = wire.decode(frames[number])
        assert isinstance(close, Connection.Close)
        code = ReplyCode(close.reply_code or 0)
        assert code != ReplyCode.INTERNAL_ERROR
        assert close.reply_text.startswith(f"{code.name} - ")
        assert set(indexes[number + 1 :]) <= {Connection.CloseOk.index}
    for octets, index in zip(frames, indexes, strict=True):
        if index == Channel.Close.index:
            ((_, closed),) = wire.decode(octets)
            assert isinstance(closed, Channel.Close)
            assert ReplyCode(closed.reply_code or 0) not in HARD


@given(st.binary(max_size=400), st.integers(1, 500))
@settings(max_examples=examples(300), deadline=None)
def test_random_octets_instead_of_a_header(octets: bytes, slice_bytes: int) -> None:
    plays_along([octets], slice_bytes)


@given(st.sampled_from(range(1, BEGUN + 1)), st.binary(min_size=1, max_size=400))
@settings(max_examples=examples(300), deadline=None)
def test_random_octets_behind_a_beginning(steps: int, octets: bytes) -> None:
    plays_along([*SESSION[:steps], octets], 10_000)


kinds = st.one_of(st.sampled_from([1, 2, 3, 8]), st.integers(0, 255))
channels = st.one_of(st.sampled_from([0, 1, 2]), st.integers(0, 65_535))


@given(
    st.sampled_from(range(1, BEGUN + 1)),
    st.lists(
        st.tuples(kinds, channels, st.binary(max_size=60)).map(
            lambda parts: wire.frame(parts[0], parts[1], parts[2])
        ),
        min_size=1,
        max_size=10,
    ),
)
@settings(max_examples=examples(300), deadline=None)
def test_frames_of_anything(steps: int, frames: list[bytes]) -> None:
    plays_along([*SESSION[:steps], *frames], 10_000)


indexes = sorted(
    {
        int.from_bytes(octets[7:11], "big")
        for octets in SESSION
        if octets[:1] == b"\x01" and len(octets) > 12
    }
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 1, 1, 2]),
            st.one_of(st.sampled_from(indexes), st.integers(0, 2**32 - 1)),
            st.binary(max_size=80),
        ).map(lambda parts: wire.method_frame(*parts)),
        min_size=1,
        max_size=10,
    )
)
@settings(max_examples=examples(500), deadline=None)
def test_methods_with_any_arguments(frames: list[bytes]) -> None:
    plays_along([*SESSION[:BEGUN], *frames], 10_000)


@given(
    st.lists(
        st.tuples(st.integers(0, len(SESSION) - 1), st.integers(0, 10_000), st.integers(1, 255)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=examples(500), deadline=None)
def test_a_session_with_octets_changed(changes: list[tuple[int, int, int]]) -> None:
    frames = list(SESSION)
    for number, place, change in changes:
        octets = bytearray(frames[number])
        octets[place % len(octets)] ^= change
        frames[number] = bytes(octets)
    plays_along(frames, 10_000)


@given(st.integers(0, len(SESSION) - 1), st.integers(0, 10_000), st.booleans(), st.booleans())
@settings(max_examples=examples(500), deadline=None)
def test_a_session_with_a_frame_an_octet_longer_or_shorter(
    number: int, place: int, longer: bool, says_so: bool
) -> None:
    frames = list(SESSION)
    octets = frames[number]
    at = place % len(octets)
    changed = octets[:at] + (b"\x00" if longer else b"") + octets[at + (0 if longer else 1) :]
    if says_so and len(changed) > 8 and not changed.startswith(b"AMQP"):
        changed = changed[:3] + (len(changed) - 8).to_bytes(4, "big") + changed[7:]
    frames[number] = changed
    plays_along(frames, 10_000)


@given(st.permutations(range(BEGUN, len(SESSION))))
@settings(max_examples=examples(200), deadline=None)
def test_a_session_in_any_order(order: list[int]) -> None:
    plays_along([*SESSION[:BEGUN], *(SESSION[number] for number in order)], 10_000)


@given(st.lists(st.sampled_from(SESSION[BEGUN:-1]), max_size=60), st.integers(1, 3000))
@settings(max_examples=examples(200), deadline=None)
def test_frames_of_a_session_over_and_over(frames: list[bytes], slice_bytes: int) -> None:
    plays_along([*SESSION[:BEGUN], b"".join(frames)], slice_bytes)


def test_the_session_itself_is_no_garbage() -> None:
    """Otherwise the tests above would not come far."""
    harness = Harness()
    client = harness.connect()
    client.feed_unchecked(b"".join(SESSION[:-1]), 10_000)
    answers = [value for _, value in client.receive_all()]
    assert not any(isinstance(value, Connection.Close) for value in answers)
    assert any(isinstance(value, wire.Content) for value in answers)
    harness.disconnect_all()
