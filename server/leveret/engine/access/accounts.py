"""Who may log in: the users of the metadata, by password (RabbitMQ: Access Control)."""

from collections.abc import Collection
from typing import Final

from leveret.engine.access.passwords import SHA256, hash_password, matches
from leveret.engine.metadata.entities import User
from leveret.engine.metadata.metadata import Metadata

ADMINISTRATOR: Final = "administrator"
IMPERSONATOR: Final = "impersonator"
TAGS: Final = (ADMINISTRATOR, "monitoring", "policymaker", "management", IMPERSONATOR)
"""The tags that have a meaning; others are kept."""

UNKNOWN_USER: Final = User("", hash_password(b"nobody", SHA256))
"""Compared with for an unknown name, so that it takes as long as a known one."""


class Accounts:
    """The users of a broker, by name."""

    def __init__(self, metadata: Metadata, loopback_users: Collection[str]) -> None:
        self._metadata = metadata
        self._loopback_users = frozenset(loopback_users)

    def authenticate(self, name: str, password: bytes) -> bool:
        """Whether the password is that user's; as slow for an unknown user as for a known one."""
        known = self._metadata.get(User, name)
        user = known or UNKNOWN_USER
        return matches(password, user.password_hash, user.hashing_algorithm) and known is not None

    def loopback_only(self, name: str) -> bool:
        """Whether the user may log in from this machine only (RabbitMQ: Access Control)."""
        return name in self._loopback_users

    def has_tag(self, name: str, tag: str) -> bool:
        """Whether a user has a tag."""
        user = self._metadata.get(User, name)
        return user is not None and tag in user.tags
