"""The open connections of a broker, to count them and to close them.

A connection is open between connection.open and its end.
"""

from collections.abc import Callable, Iterable

from leveret.engine.values.counters import ChurnCounters
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work


class OpenConnection:
    """One open connection, as operators see it."""

    def __init__(
        self,
        user: str,
        vhost: str,
        peer: str,
        name: str,
        connected_at: int,
        close: Callable[[str], None],
    ) -> None:
        self.user = user
        self.vhost = vhost
        self.peer = peer
        """The address of the client."""
        self.name = name
        """What the client calls itself, if it does."""
        self.connected_at = connected_at
        """Milliseconds since 1970."""
        self.close = close
        """Closes it with CONNECTION_FORCED, for a reason that the client is told."""
        self.channels = 0
        """Open channels."""


class OpenConnections:
    """All open connections, by user and by virtual host."""

    def __init__(self, churn: ChurnCounters | None = None) -> None:
        """:param churn: counts them."""
        self._churn = churn or ChurnCounters()
        self._all: dict[OpenConnection, None] = {}
        self._of_user: dict[str, dict[OpenConnection, None]] = {}
        self._in_vhost: dict[str, dict[OpenConnection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: OpenConnection) -> None:
        """A connection was opened."""
        self._churn.connection_created += 1
        self._all[connection] = None
        self._of_user.setdefault(connection.user, {})[connection] = None
        self._in_vhost.setdefault(connection.vhost, {})[connection] = None

    def remove(self, connection: OpenConnection) -> None:
        """A connection has ended."""
        self._churn.connection_closed += 1
        del self._all[connection]
        for groups, name in (
            (self._of_user, connection.user),
            (self._in_vhost, connection.vhost),
        ):
            group = groups[name]
            del group[connection]
            if not group:
                del groups[name]

    def all(self) -> list[OpenConnection]:
        """All of them, the oldest first."""
        return list(self._all)

    def of_user(self, user: str) -> list[OpenConnection]:
        """Those of a user."""
        return list(self._of_user.get(user, ()))

    def in_vhost(self, vhost: str) -> list[OpenConnection]:
        """Those to a virtual host."""
        return list(self._in_vhost.get(vhost, ()))

    def count_of_user(self, user: str) -> int:
        """The number of connections of a user."""
        return len(self._of_user.get(user, ()))

    def count_in_vhost(self, vhost: str) -> int:
        """The number of connections to a virtual host."""
        return len(self._in_vhost.get(vhost, ()))

    def channels_of_user(self, user: str) -> int:
        """The number of channels that are open on the connections of a user."""
        return sum(connection.channels for connection in self._of_user.get(user, ()))


class Closing(Work):
    """Closes connections, some in each slice."""

    def __init__(self, connections: Iterable[OpenConnection], reason: str) -> None:
        self._connections = list(connections)
        self._reason = reason

    def run(self, time_slice: TimeSlice) -> bool:
        while self._connections:
            self._connections.pop().close(self._reason)
            if time_slice.is_over_now():
                break
        return not self._connections
