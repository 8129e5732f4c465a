"""Who may log in. One user, as configured; what it may do is not restricted."""

import hmac
from collections.abc import Collection


class Accounts:
    """The users of a broker, by name."""

    def __init__(self, passwords: dict[str, str], loopback_users: Collection[str]) -> None:
        self._passwords = {name: password.encode() for name, password in passwords.items()}
        self._loopback_users = frozenset(loopback_users)

    def authenticate(self, name: str, password: bytes) -> bool:
        """Whether the password is that user's; as slow for an unknown user as for a known one."""
        known = self._passwords.get(name)
        return hmac.compare_digest(known if known is not None else b"", password) and (
            known is not None
        )

    def loopback_only(self, name: str) -> bool:
        """Whether the user may log in from this machine only (RabbitMQ: Access Control)."""
        return name in self._loopback_users
