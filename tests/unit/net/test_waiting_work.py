"""Work of a connection that waits for the disk is asked again after a pause, not all the time."""

from collections.abc import Callable

import pytest

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from tests.unit.net.test_transport import Client, Loop, broker, client, declare, loop

__all__ = ["broker", "client", "loop"]


class Waiting(Work):
    """Work that waits in each slice but the last."""

    def __init__(self, slices: int) -> None:
        self.slices = slices

    def waits(self) -> bool:
        return True

    def run(self, time_slice: TimeSlice) -> bool:
        self.slices -= 1
        return self.slices == 0


def test_it_is_asked_again_after_a_pause_each_time(
    client: Client, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    call_later = loop.call_later

    def counted(delay: float, callback: Callable[[], None]) -> None:
        pauses.append(delay)
        call_later(delay, callback)

    monkeypatch.setattr(loop, "call_later", counted)
    session = client.transport.connection.session
    session.begin(Waiting(5))

    client.send(declare())

    assert session.work is None
    assert len(pauses) == 4
    assert client.socket.reading
