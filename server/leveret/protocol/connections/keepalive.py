"""How long a peer may be silent: heartbeats of an open connection, and deadlines of any other.

(AMQP 0-9-1, section 4.2.7.) Times are monotonic, in seconds. They are taken at the ticks of the
transport, twice a second, so they are as exact as that.
"""


class Keepalive:
    """The times of one connection."""

    def __init__(self, now: float, handshake_timeout_s: float) -> None:
        self.heartbeat_s = 0
        """The interval the client chose; 0 turns heartbeats off."""
        self.last_received: float = now
        """When octets last arrived, as far as the ticks know. Read-only for others."""
        self._last_sent: float = now
        self._deadline: float = now + handshake_timeout_s

    def observe(self, now: float, received: bool, sent: bool) -> None:
        """Note what has happened since the last tick.

        :param received: whether the peer is alive, or its silence is not its own doing.
        :param sent: whether octets were sent.
        """
        if received:
            self.last_received = now
        if sent:
            self._last_sent = now

    def set_deadline(self, timeout_s: float) -> None:
        """Give the peer some seconds, counted from when octets last arrived."""
        self._deadline = self.last_received + timeout_s

    def is_past_deadline(self, now: float) -> bool:
        """Whether the peer had its time; of no interest while the connection is open."""
        return now >= self._deadline

    def must_send_heartbeat(self, now: float) -> bool:
        """Whether nothing was sent for half the interval."""
        return self.heartbeat_s != 0 and now - self._last_sent >= self.heartbeat_s / 2

    def is_peer_silent(self, now: float) -> bool:
        """Whether nothing arrived for two intervals."""
        return self.heartbeat_s != 0 and now - self.last_received > 2 * self.heartbeat_s
