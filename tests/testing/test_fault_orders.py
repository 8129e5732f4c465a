"""What is ordered, and what of it is pending."""

from leveret.testing.fault_orders import (
    DropConnection,
    FaultOrders,
    RefuseConnections,
    RefusePublishes,
)
from leveret.testing.frame_count import FrameCount
from tests.support.wire import HEARTBEAT, METHOD, PROTOCOL_HEADER, raw_frame


def texts(orders: FaultOrders) -> list[str]:
    return [str(each) for each in orders.pending()]


def test_refusals_happen_in_the_order_in_which_they_were_ordered() -> None:
    orders = FaultOrders()
    orders.add(RefuseConnections("reset", 2))
    orders.add(RefuseConnections("login", 1))
    assert not orders.take_refusal("login")
    assert orders.take_refusal("reset")
    assert texts(orders) == ["refuse a connection: reset", "refuse a connection: login"]
    assert orders.take_refusal("reset")
    assert not orders.take_refusal("reset")
    assert orders.take_refusal("login")
    assert texts(orders) == []


def test_as_many_connections_get_a_drop_as_it_is_for() -> None:
    orders = FaultOrders()
    drop = DropConnection("drop the next connection", 3, "sent", 2)
    drop.unassigned = 2
    orders.add(drop)
    assert [orders.take_drop() for _ in range(3)] == [drop, drop, None]
    assert texts(orders) == ["drop the next connection (2 times)"]
    orders.happened(drop)
    orders.happened(drop)
    assert texts(orders) == []


def test_a_publish_is_refused_by_the_first_order_that_it_meets() -> None:
    orders = FaultOrders()
    orders.add(RefusePublishes(1, "events", None, None))
    orders.add(RefusePublishes(2, "", "a", "q"))
    assert texts(orders) == [
        "nack a publish of exchange 'events'",
        "nack a publish of exchange '' and routing key 'a' and queue 'q' (2 times)",
    ]
    assert not orders.take_publish("other", "a", ("q",))
    assert not orders.take_publish("", "b", ("q",))
    assert not orders.take_publish("", "a", ("r",))
    assert orders.take_publish("events", "a", ())
    assert not orders.take_publish("events", "a", ())
    assert orders.take_publish("", "a", ("q", "r"))
    assert orders.take_publish("", "a", ("q",))
    assert not orders.take_publish("", "a", ("q",))
    assert not orders.refuses_publishes()
    orders.add(RefusePublishes(1, None, None, None))
    assert orders.refuses_publishes()
    assert texts(orders) == ["nack a publish"]
    orders.clear()
    assert not orders.take_publish("", "a", ("q",))


def test_the_ends_of_frames_are_found_however_their_octets_come() -> None:
    frames = [raw_frame(METHOD, 1, bytes(size)) for size in (4, 0, 300)]
    heartbeat = raw_frame(HEARTBEAT, 0, b"")
    data = b"".join([PROTOCOL_HEADER, frames[0], heartbeat, frames[1], frames[2]])
    whole = FrameCount(len(PROTOCOL_HEADER)).ends(data)
    assert whole == [20, 36, 344]
    for size in range(1, 40):
        count = FrameCount(len(PROTOCOL_HEADER))
        found = [
            start + end
            for start in range(0, len(data), size)
            for end in count.ends(data[start : start + size])
        ]
        assert found == whole
