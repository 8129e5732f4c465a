"""The states of a connection and of a channel, and every transition between them.

These tables decide what a peer may do next. A pair of state and event that is not in its table is
illegal. `connection.py` and `channel.py` change state through `next_connection_state` and
`next_channel_state` only.
"""

from enum import IntEnum
from typing import Final

from leveret.errors import AmqpError, ReplyCode


class ConnectionState(IntEnum):
    """The states of a connection, from its first octet to its last (AMQP 0-9-1, section 2.2.4)."""

    HEADER = 0
    """The protocol header is awaited."""
    START = 1
    """connection.start is sent; start-ok is awaited."""
    TUNE = 2
    """connection.tune is sent; tune-ok is awaited."""
    OPENING = 3
    """Tuned; connection.open is awaited."""
    OPEN = 4
    CLOSING = 5
    """connection.close is sent; all but close and close-ok is discarded."""
    REFUSED = 6
    """The login failed. After a delay the client is refused, or, if it does not understand that,
    the socket is closed."""
    CLOSED = 7
    """Nothing is read any more; the socket is closed once the output is flushed."""
    PASSING_ON = 8
    """connection.open has come, for a virtual host that is not served here: the transport passes
    the connection on to the broker that serves it, or waits until one does."""


class ConnectionEvent(IntEnum):
    """What changes the state of a connection."""

    HEADER = 0
    START_OK = 1
    TUNE_OK = 2
    OPEN = 3
    CLOSE = 4
    """The client sent connection.close."""
    CLOSE_OK = 5
    FAIL = 6
    """The broker sends connection.close."""
    REFUSE = 7
    """The broker refuses a login, later or without a frame."""
    DISCONNECT = 8
    """The socket is closed, or will be without connection.close."""
    PASS_ON = 9
    """connection.open has come, for a virtual host that is not served here."""
    PASSED_ON = 10
    """Another broker has opened the connection: all further octets are for that one."""


_S = ConnectionState
_E = ConnectionEvent

CONNECTION_TRANSITIONS: Final[dict[tuple[ConnectionState, ConnectionEvent], ConnectionState]] = {
    (_S.HEADER, _E.HEADER): _S.START,
    (_S.START, _E.START_OK): _S.TUNE,
    (_S.TUNE, _E.TUNE_OK): _S.OPENING,
    (_S.OPENING, _E.OPEN): _S.OPEN,
    (_S.OPENING, _E.PASS_ON): _S.PASSING_ON,
    (_S.PASSING_ON, _E.OPEN): _S.OPEN,
    (_S.PASSING_ON, _E.PASSED_ON): _S.CLOSED,
    (_S.START, _E.REFUSE): _S.REFUSED,
    (_S.REFUSED, _E.FAIL): _S.CLOSING,
    (_S.START, _E.FAIL): _S.CLOSING,
    (_S.TUNE, _E.FAIL): _S.CLOSING,
    (_S.OPENING, _E.FAIL): _S.CLOSING,
    (_S.PASSING_ON, _E.FAIL): _S.CLOSING,
    (_S.OPEN, _E.FAIL): _S.CLOSING,
    (_S.START, _E.CLOSE): _S.CLOSED,
    (_S.TUNE, _E.CLOSE): _S.CLOSED,
    (_S.OPENING, _E.CLOSE): _S.CLOSED,
    (_S.OPEN, _E.CLOSE): _S.CLOSED,
    (_S.CLOSING, _E.CLOSE): _S.CLOSED,
    (_S.CLOSING, _E.CLOSE_OK): _S.CLOSED,
    **{(state, _E.DISCONNECT): _S.CLOSED for state in ConnectionState},
}


ERROR_STATES: Final = (
    _S.START,
    _S.TUNE,
    _S.OPENING,
    _S.PASSING_ON,
    _S.OPEN,
)
"""States in which an error is answered with connection.close."""

STATE_NAMES: Final = {
    _S.START: "starting",
    _S.TUNE: "tuning",
    _S.OPENING: "opening",
    _S.PASSING_ON: "opening",
    _S.OPEN: "running",
}
"""RabbitMQ's names of states, for error texts."""


def unexpected_method(state: ConnectionState) -> AmqpError:
    """The error of a method that is not allowed in a state."""
    name = STATE_NAMES.get(state, state.name.lower())
    return AmqpError(ReplyCode.CHANNEL_ERROR, f"unexpected method in connection state {name}")


def check_state(state: ConnectionState, expected: ConnectionState) -> None:
    """Check that a method comes in the state it belongs to.

    :raises AmqpError: CHANNEL_ERROR.
    """
    if state != expected:
        raise unexpected_method(state)


def next_connection_state(state: ConnectionState, event: ConnectionEvent) -> ConnectionState:
    """The state after an event.

    :raises AmqpError: CHANNEL_ERROR if the event is not allowed in this state.
    """
    after = CONNECTION_TRANSITIONS.get((state, event))
    if after is None:
        raise unexpected_method(state)
    return after


class ChannelState(IntEnum):
    """The states of a channel that its connection knows. Any other number is a closed channel."""

    OPEN = 0
    CLOSING = 1
    """channel.close is sent; all but close and close-ok is discarded (AMQP 0-9-1, 2.2.5)."""
    CLOSED = 2


class ChannelEvent(IntEnum):
    """What changes the state of a channel."""

    CLOSE = 0
    """The client sent channel.close."""
    CLOSE_OK = 1
    FAIL = 2
    """The broker sends channel.close."""
    DISCONNECT = 3
    """Its connection has ended."""


CHANNEL_TRANSITIONS: Final[dict[tuple[ChannelState, ChannelEvent], ChannelState]] = {
    (ChannelState.OPEN, ChannelEvent.CLOSE): ChannelState.CLOSED,
    (ChannelState.OPEN, ChannelEvent.FAIL): ChannelState.CLOSING,
    (ChannelState.CLOSING, ChannelEvent.CLOSE): ChannelState.CLOSING,
    (ChannelState.CLOSING, ChannelEvent.CLOSE_OK): ChannelState.CLOSED,
    (ChannelState.OPEN, ChannelEvent.DISCONNECT): ChannelState.CLOSED,
    (ChannelState.CLOSING, ChannelEvent.DISCONNECT): ChannelState.CLOSED,
}


def next_channel_state(state: ChannelState, event: ChannelEvent) -> ChannelState:
    """The state after an event.

    :raises AmqpError: UNEXPECTED_FRAME if the event is not allowed in this state.
    """
    after = CHANNEL_TRANSITIONS.get((state, event))
    if after is None:
        raise AmqpError(
            ReplyCode.UNEXPECTED_FRAME,
            f"{event.name.lower()} is not expected in channel state {state.name.lower()}",
        )
    return after


EXPECT_METHOD: Final = 0
EXPECT_HEADER: Final = 1
EXPECT_BODY: Final = 2
"""The next frame of a channel: content is a method, a header and body frames in a row. Plain
numbers rather than an enum, because they are read and set three times a message."""
