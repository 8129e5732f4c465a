"""The tables of states: every state with every event, and what the pairs add up to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.errors import AmqpError
from leveret.protocol.states import (
    CHANNEL_TRANSITIONS,
    CONNECTION_TRANSITIONS,
    ChannelEvent,
    ChannelState,
    ConnectionEvent,
    ConnectionState,
    next_channel_state,
    next_connection_state,
)


@pytest.mark.parametrize("event", ConnectionEvent)
@pytest.mark.parametrize("state", ConnectionState)
def test_an_event_of_a_connection_is_in_the_table_or_an_error(
    state: ConnectionState, event: ConnectionEvent
) -> None:
    if (state, event) in CONNECTION_TRANSITIONS:
        assert next_connection_state(state, event) in ConnectionState
        return
    with pytest.raises(AmqpError) as raised:
        next_connection_state(state, event)
    assert raised.value.closes_connection


@pytest.mark.parametrize("event", ChannelEvent)
@pytest.mark.parametrize("state", ChannelState)
def test_an_event_of_a_channel_is_in_the_table_or_an_error(
    state: ChannelState, event: ChannelEvent
) -> None:
    if (state, event) in CHANNEL_TRANSITIONS:
        assert next_channel_state(state, event) in ChannelState
        return
    with pytest.raises(AmqpError) as raised:
        next_channel_state(state, event)
    assert raised.value.closes_connection


@settings(deadline=None)
@given(st.lists(st.sampled_from(ConnectionEvent), max_size=20))
def test_no_run_of_events_opens_a_connection_but_through_the_handshake(
    events: list[ConnectionEvent],
) -> None:
    state = ConnectionState.HEADER
    path = []
    for event in events:
        if (state, event) in CONNECTION_TRANSITIONS:
            state = next_connection_state(state, event)
            path.append(event)
    handshake = [
        ConnectionEvent.HEADER,
        ConnectionEvent.START_OK,
        ConnectionEvent.TUNE_OK,
        ConnectionEvent.OPEN,
    ]
    if state == ConnectionState.OPEN:
        assert path == handshake


def test_every_state_of_a_connection_can_be_reached_and_left_for_good() -> None:
    reached = {ConnectionState.HEADER}
    while True:
        more = {to for (state, _), to in CONNECTION_TRANSITIONS.items() if state in reached}
        if more <= reached:
            break
        reached |= more
    assert reached == set(ConnectionState)
    for state in ConnectionState:
        assert next_connection_state(state, ConnectionEvent.DISCONNECT) == ConnectionState.CLOSED


def test_a_closed_connection_stays_closed() -> None:
    ways = {to for (state, _), to in CONNECTION_TRANSITIONS.items() if state.name == "CLOSED"}
    assert ways == {ConnectionState.CLOSED}


def test_a_closed_channel_stays_closed() -> None:
    assert not any(state == ChannelState.CLOSED for state, _ in CHANNEL_TRANSITIONS)
    for state in (ChannelState.OPEN, ChannelState.CLOSING):
        assert next_channel_state(state, ChannelEvent.DISCONNECT) == ChannelState.CLOSED


def test_the_broker_closes_a_channel_once() -> None:
    after = next_channel_state(ChannelState.OPEN, ChannelEvent.FAIL)
    assert after == ChannelState.CLOSING
    with pytest.raises(AmqpError):
        next_channel_state(after, ChannelEvent.FAIL)
