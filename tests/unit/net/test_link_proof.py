"""The proof of a link: nothing but the secret, on this connection and from the other side, will do.

Octets in, octets out, cut as they may come.
"""

import pytest

from leveret.net.link_proof import (
    AMQP,
    CLOSE,
    HTTP,
    MAGIC,
    NONCE_BYTES,
    PROOF_BYTES,
    Dialer,
    Listener,
    ProofError,
)

SECRET = b"sixteen bytes or more"


def dialer(secret: bytes = SECRET, listener: str = "b", purpose: bytes = AMQP) -> Dialer:
    return Dialer(secret, "a", listener, purpose)


def listener(secret: bytes = SECRET, name: str = "b") -> Listener:
    return Listener(secret, name)


def prove(one: Dialer, other: Listener) -> tuple[bytes, bytes, bytes]:
    """Have both prove themselves; what was said."""
    greeting = other.begin()
    request, _ = one.receive(greeting)
    answer, proved = other.receive(request)
    assert proved
    assert one.receive(answer) == (b"", True)
    return greeting, request, answer


@pytest.mark.parametrize("purpose", [AMQP, HTTP, CLOSE])
def test_two_brokers_with_one_secret_prove_themselves(purpose: bytes) -> None:
    other = listener()
    said = prove(dialer(purpose=purpose), other)
    assert (other.purpose, other.dialer) == (purpose, "a")
    assert not any(SECRET in part for part in said)


def test_it_does_not_matter_how_the_octets_are_cut() -> None:
    one, other = dialer(), listener()
    request = b""
    for octet in other.begin():
        reply, proved = one.receive(bytes((octet,)))
        request += reply
        assert not proved
    answer = b""
    for octet in request:
        assert answer == b""
        reply, _ = other.receive(bytes((octet,)))
        answer += reply
    results = [one.receive(bytes((octet,)))[1] for octet in answer]
    assert results == [False] * (PROOF_BYTES - 1) + [True]


def test_a_dialer_with_another_secret_is_refused_and_gets_no_proof() -> None:
    other = listener()
    request, _ = dialer(b"another secret of bytes").receive(other.begin())
    with pytest.raises(ProofError, match="does not know the secret"):
        other.receive(request)


def test_a_listener_with_another_secret_is_refused() -> None:
    one, other = dialer(), listener()
    one.receive(other.begin())
    with pytest.raises(ProofError, match="does not know the secret"):
        one.receive(bytes(PROOF_BYTES))


def test_a_proof_is_worth_nothing_on_another_link() -> None:
    _, request, answer = prove(dialer(), listener())
    with pytest.raises(ProofError):
        listener().receive(request)
    again = dialer()
    again.receive(listener().begin())
    with pytest.raises(ProofError):
        again.receive(answer)


def test_a_proof_is_worth_nothing_for_another_purpose() -> None:
    other = listener()
    request, _ = dialer(purpose=HTTP).receive(other.begin())
    with pytest.raises(ProofError):
        other.receive(AMQP + request[1:])


def test_a_proof_that_is_sent_back_is_refused() -> None:
    """Who knows no secret has the dialer answer its own challenge, or the listener."""
    one, other = dialer(), listener()
    request, _ = one.receive(other.begin())
    with pytest.raises(ProofError):
        one.receive(request[-PROOF_BYTES:])


def test_a_broker_that_dials_a_deceiver_proves_nothing_to_itself() -> None:
    """A deceiver passes the challenge of the broker's own listener, or of a third broker, on to its
    dialer, which has dialed another one."""
    for name in ("a", "c"):
        with pytest.raises(ProofError, match="calls itself"):
            dialer().receive(listener(name=name).begin())
    # It says that it is the one that was dialed, with the challenge of another.
    deceived = listener(name="c")
    greeting = deceived.begin()
    nonce = greeting[len(MAGIC) : len(MAGIC) + NONCE_BYTES]
    request, _ = dialer().receive(MAGIC + nonce + b"\x01b")
    with pytest.raises(ProofError):
        deceived.receive(request)


def test_two_brokers_of_one_name_do_not_trust_each_other() -> None:
    with pytest.raises(ProofError, match="name of this one"):
        Dialer(SECRET, "b", "b", AMQP).receive(listener().begin())


@pytest.mark.parametrize("data", [b"AMQP\0\0\x09\x01", b"GET / HTTP/1.1", b"\x16\x03\x01"])
def test_what_is_no_broker_is_refused_at_its_first_octets(data: bytes) -> None:
    with pytest.raises(ProofError):
        dialer().receive(data)
    if not data.startswith(AMQP):
        with pytest.raises(ProofError):
            listener().receive(data)


def test_nothing_may_follow_a_proof_before_it_is_answered() -> None:
    other = listener()
    one = dialer()
    request, _ = one.receive(other.begin())
    with pytest.raises(ProofError, match="more than its proof"):
        listener().receive(request + b"x")
    answer, _ = other.receive(request)
    with pytest.raises(ProofError, match="more than its proof"):
        one.receive(answer + b"x")


def test_every_link_has_nonces_of_its_own() -> None:
    greetings = {listener().begin() for _ in range(100)}
    assert len(greetings) == 100
