"""A session is answered the same, wherever TCP cuts its octets."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from tests.protocol import wire
from tests.protocol.harness import Client, Harness
from tests.protocol.sessions import SESSION
from tests.support.examples import examples, part_of

OCTETS = b"".join(SESSION)
EVERYTHING = 10_000_000


def answer_to(pieces: list[bytes], slices: list[int]) -> list[str]:
    """What a session receives whose octets arrive in these pieces; slices are used in rotation.

    How many confirms one ack holds, and so where it stands among the deliveries, is a matter of
    how much is worked through between two flushes; what it confirms is not.
    """
    harness = Harness()
    client = harness.connect()
    for number, piece in enumerate(pieces):
        client.feed_unchecked(piece, slices[number % len(slices)])
    received = client.receive_all()
    client.expect_socket_closed()
    harness.disconnect_all()
    return [wire.text_of(*each) for each in received if not isinstance(each[1], Basic.Ack)] + [
        wire.text_of(*each) for each in received if isinstance(each[1], Basic.Ack)
    ][-1:]


# Amid the zeros of the large body one place is like the next: some of those stand for all.
CUTS = [
    at
    for at in range(1, len(OCTETS))
    if OCTETS[max(at - 20, 0) : at + 20].strip(b"\0") or at % 101 == 0
]
AT_ONCE = answer_to([OCTETS], [EVERYTHING])


def test_the_session_at_once_says_what_it_should() -> None:
    names = [line.split("(")[0].split(" ", 1)[1] for line in AT_ONCE]
    for name in ("Basic.Deliver", "Basic.Return", "Basic.GetOk", "Basic.Ack", "Tx.CommitOk"):
        assert name in names
    assert names.count("Channel.Close") == 1
    assert names[-2] == "Connection.CloseOk"


def test_a_session_cut_in_two_anywhere_says_the_same() -> None:
    for at in part_of(CUTS):
        assert answer_to([OCTETS[:at], OCTETS[at:]], [EVERYTHING]) == AT_ONCE, f"cut at {at}"


def test_a_session_octet_by_octet_says_the_same() -> None:
    assert answer_to([OCTETS[at : at + 1] for at in range(len(OCTETS))], [1]) == AT_ONCE


@given(
    st.lists(st.integers(0, len(OCTETS)), max_size=30),
    st.lists(st.one_of(st.just(0), st.integers(1, 5000)), min_size=1, max_size=5),
)
@settings(max_examples=examples(200), deadline=None)
def test_a_session_in_any_pieces_and_slices_says_the_same(
    cuts: list[int], slices: list[int]
) -> None:
    places = [0, *sorted(cuts), len(OCTETS)]
    pieces = [OCTETS[start:stop] for start, stop in pairwise(places)]
    assert answer_to([piece for piece in pieces if piece], slices) == AT_ONCE


def test_frames_that_wait_for_their_turn_are_kept_behind_newer_input(
    alice: Client, harness: Harness
) -> None:
    alice.declare(1, "q")
    octets = b"".join(wire.publish(1, "q", b"%d" % number) for number in range(20))
    alice.connection.feed(octets[:200], 0)
    alice.connection.feed(octets[200:500], 0)
    alice.feed(octets[500:], 50)
    assert harness.queue("q").message_count() == 20
    for number in range(20):
        alice.send(1, Basic.Get(queue="q", no_ack=True))
        assert alice.expect_content(1).body == b"%d" % number
