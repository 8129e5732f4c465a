"""Sessions of the management page: what their tokens are, and when they end.

A token says who logged in and when. It is signed with a key that all brokers of a cluster have, so
any of them knows it, and none has to keep it. It ends SESSION_S after the login, with the user's
password, and when the user logs out, which is remembered until it would have ended anyway. A broker
that shares its storage with no other has a key of its own, which ends with the process.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Final

import msgspec

from leveret.engine.administration.operator import Unavailable
from leveret.engine.metadata.entities import EndedSession, SessionKey, User
from leveret.engine.metadata.metadata import Metadata

SESSION_S: Final = 12 * 3600
"""Seconds after the login after which a session ends."""

SESSION_MS: Final = 1000 * SESSION_S

AHEAD_MS_MAX: Final = 3_600_000
"""Milliseconds by which the clock of the broker that began a session may be ahead: each measures by
its own machine since it started, and machines stand still at times."""

ENDED_MAX: Final = 1000
"""Sessions that were ended and are remembered: with more of them the key is replaced, which ends
all sessions."""

TOKEN_LENGTH_MAX: Final = 4096
SIGNATURE_BYTES: Final = hashlib.sha256().digest_size


class _Token(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a token says."""

    user: str
    begun_at: int
    """Milliseconds since the epoch."""
    session: str
    """Random: which session it is."""


class Sessions:
    """Begins and ends sessions, and says whose a token is. For the event loop."""

    def __init__(
        self, users: Metadata, now_ms: Callable[[], int], *, shared: bool, secret: str = ""
    ) -> None:
        """
        :param users: who may log in.
        :param now_ms: milliseconds since the epoch, by a clock that brokers share, whatever the
            clocks of their machines say.
        :param shared: whether `users` are the metadata of a cluster, which then have the key.
        :param secret: of the cluster: a copy of its metadata does not sign tokens without it.
        """
        self._users = users
        self._now_ms = now_ms
        self._metadata = users if shared else Metadata()
        if not shared:
            self._metadata.put(SessionKey.random())
        self._secret = secret.encode()

    def begin(self, user: User) -> str:
        """Begin a session; its token."""
        token = _Token(user.name, self._now_ms(), secrets.token_hex(16))
        said = msgspec.msgpack.encode(token)
        return urlsafe_b64encode(said + self._signature(said, user)).decode()

    def user_of(self, token: str) -> User | None:
        """Who began a session; None if there is none, or it has ended."""
        found = self._read(token)
        return None if found is None else self._users.get(User, found.user)

    def end(self, token: str) -> bool:
        """End a session, if there is one; whether there was one.

        :raises Unavailable: if too many wait to be ended, because the metadata cannot be changed.
        """
        found = self._read(token)
        if found is None:
            return False
        now, metadata = self._now_ms(), self._metadata
        for ended in list(metadata.all(EndedSession).values()):
            if ended.until < now:
                metadata.delete(EndedSession, ended.session)
        if len(metadata.all(EndedSession)) < ENDED_MAX:
            metadata.put(EndedSession(found.session, found.begun_at + SESSION_MS + AHEAD_MS_MAX))
            return True
        if reason := metadata.refusal():
            raise Unavailable(reason)
        metadata.put(SessionKey.random())
        for ended in list(metadata.all(EndedSession).values()):
            metadata.delete(EndedSession, ended.session)
        return True

    def why_here_only(self) -> str:
        """Why the other brokers do not learn at once that a session has ended; empty if they do."""
        return self._metadata.refusal()

    def _read(self, token: str) -> _Token | None:
        """What a token says, if it is valid."""
        if len(token) > TOKEN_LENGTH_MAX:
            return None
        try:
            signed = urlsafe_b64decode(token.encode("ascii"))
            said, signature = signed[:-SIGNATURE_BYTES], signed[-SIGNATURE_BYTES:]
            found = msgspec.msgpack.decode(said, type=_Token)
        except (Base64Error, UnicodeError, msgspec.MsgspecError):
            return None
        user = self._users.get(User, found.user)
        if user is None or not hmac.compare_digest(signature, self._signature(said, user)):
            return None
        age_ms = self._now_ms() - found.begun_at
        if not -AHEAD_MS_MAX <= age_ms < SESSION_MS:
            return None
        return found if self._metadata.get(EndedSession, found.session) is None else None

    def _signature(self, said: bytes, user: User) -> bytes:
        """What only brokers can make of what a token says; another one with another password."""
        found = self._metadata.get(SessionKey)
        if found is None:
            raise Unavailable("the cluster has no key for sessions yet")
        key = hashlib.sha256(found.session_key.encode() + b"\0" + self._secret).digest()
        password = hashlib.sha256(user.password_hash.encode()).digest()
        return hmac.digest(key, password + said, "sha256")
