"""Sessions of the management page: who is let in with which token, at which broker, until when."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
import pytest

from leveret.engine.administration.operator import Unavailable
from leveret.engine.metadata.entities import EndedSession, SessionKey, User
from leveret.engine.metadata.metadata import Metadata, Record
from leveret.management.sessions import AHEAD_MS_MAX, ENDED_MAX, SESSION_MS, Sessions

NOW_MS = 1_700_000_000_000
ANN = User("ann", password_hash="of ann")


class Broker:
    """Sessions at one broker of a cluster, or at one that is alone."""

    def __init__(self, *, shared: bool = True, secret: str = "") -> None:
        self.metadata = Metadata()
        self.metadata.put(ANN)
        self.now_ms = NOW_MS
        self.sessions = Sessions(self.metadata, lambda: self.now_ms, shared=shared, secret=secret)

    def user_of(self, token: str) -> str | None:
        """The name of the user of a token."""
        user = self.sessions.user_of(token)
        return None if user is None else user.name


def two_brokers(secret: str = "") -> tuple[Broker, Broker]:
    """Brokers of a cluster, the second of which is told what the first one changes, and may have
    another secret."""
    one, two = Broker(), Broker(secret=secret)

    def write(record: Record) -> None:
        two.metadata.apply(record)

    one.metadata.persist(write)
    one.metadata.put(SessionKey.random())
    return one, two


def test_a_token_is_good_at_every_broker_of_a_cluster() -> None:
    one, two = two_brokers()
    token = one.sessions.begin(ANN)
    assert (one.user_of(token), two.user_of(token)) == ("ann", "ann")


def test_a_broker_that_is_alone_has_a_key_of_its_own() -> None:
    one, two = Broker(shared=False), Broker(shared=False)
    token = one.sessions.begin(ANN)
    assert (one.user_of(token), two.user_of(token)) == ("ann", None)
    # Nothing of it is in the data.
    assert one.metadata.get(SessionKey) is None
    assert one.sessions.end(token)
    assert not one.metadata.all(EndedSession)
    assert one.user_of(token) is None


def test_a_session_that_was_ended_is_over_everywhere() -> None:
    one, two = two_brokers()
    token, other = one.sessions.begin(ANN), one.sessions.begin(ANN)
    assert one.sessions.end(token)
    assert not one.sessions.end(token)
    assert (one.user_of(token), two.user_of(token)) == (None, None)
    assert (one.user_of(other), two.user_of(other)) == ("ann", "ann")


@pytest.mark.parametrize("changed", [User("ann", password_hash="another"), None])
def test_a_session_ends_with_the_password_and_with_the_user(changed: User | None) -> None:
    one, two = two_brokers()
    token = one.sessions.begin(ANN)
    if changed is None:
        one.metadata.delete(User, "ann")
    else:
        one.metadata.put(changed)
    assert (one.user_of(token), two.user_of(token)) == (None, None)


@pytest.mark.parametrize(
    ("later_ms", "is_known"),
    [
        (SESSION_MS - 1, True),
        (SESSION_MS, False),
        # The clock of the other broker is behind.
        (-AHEAD_MS_MAX, True),
        (-AHEAD_MS_MAX - 1, False),
    ],
)
def test_a_session_ends_in_time(later_ms: int, is_known: bool) -> None:
    one, two = two_brokers()
    token = one.sessions.begin(ANN)
    two.now_ms += later_ms
    assert (two.user_of(token) == "ann") == is_known


def test_a_token_that_was_changed_is_none() -> None:
    broker = Broker(shared=False)
    token = broker.sessions.begin(ANN)
    signed = urlsafe_b64decode(token)
    for at in range(len(signed)):
        octet = bytes([signed[at] ^ 1])
        changed = urlsafe_b64encode(signed[:at] + octet + signed[at + 1 :]).decode()
        assert broker.user_of(changed) is None
    for wrong in ("", "x", "\N{SNOWMAN}", token[:-4], token * 100, "A" * 44):
        assert broker.user_of(wrong) is None
    forged = msgspec.msgpack.encode(["ann", NOW_MS, "1"]) + bytes(32)
    assert broker.user_of(urlsafe_b64encode(forged).decode()) is None


def test_the_metadata_alone_do_not_sign_where_the_cluster_has_a_secret() -> None:
    one, two = two_brokers("a secret")
    assert two.user_of(one.sessions.begin(ANN)) is None


def test_sessions_that_have_ended_are_forgotten_in_time() -> None:
    broker = Broker()
    broker.metadata.put(SessionKey.random())
    broker.sessions.end(broker.sessions.begin(ANN))
    broker.now_ms += SESSION_MS + 2 * AHEAD_MS_MAX
    assert broker.sessions.end(broker.sessions.begin(ANN))
    assert len(broker.metadata.all(EndedSession)) == 1


def test_what_is_remembered_is_bounded() -> None:
    broker = Broker()
    broker.metadata.put(SessionKey.random())
    other = broker.sessions.begin(ANN)
    for _ in range(ENDED_MAX):
        broker.sessions.end(broker.sessions.begin(ANN))
    assert broker.user_of(other) == "ann"
    token = broker.sessions.begin(ANN)
    broker.metadata.refusal = lambda: "the database does not answer"
    with pytest.raises(Unavailable, match="the database does not answer"):
        broker.sessions.end(token)
    assert broker.sessions.why_here_only() == "the database does not answer"
    broker.metadata.refusal = str
    # With a new key all are over.
    assert broker.sessions.end(token)
    assert broker.user_of(token) is broker.user_of(other) is None
    assert not broker.metadata.all(EndedSession)
    assert broker.user_of(broker.sessions.begin(ANN)) == "ann"


def test_a_cluster_without_a_key_lets_nobody_in() -> None:
    broker = Broker()
    with pytest.raises(Unavailable, match="no key"):
        broker.sessions.begin(ANN)
