"""Alarms of several resources, and the one reason they make."""

from leveret.net.alarms import Alarms, Resource


def test_the_reason_names_what_is_short_in_the_same_order_always() -> None:
    told: list[str] = []
    alarms = Alarms(told.append)

    alarms.set(Resource.DISK, True)
    alarms.set(Resource.MEMORY, True)
    alarms.set(Resource.DISK, False)
    alarms.set(Resource.MEMORY, False)

    assert told == ["low on disk", "low on memory & disk", "low on memory", ""]


def test_what_is_known_already_is_not_told_again() -> None:
    told: list[str] = []
    alarms = Alarms(told.append)

    alarms.set(Resource.DISK, False)
    for _ in range(2):
        alarms.set(Resource.MEMORY, True)

    assert told == ["low on memory"]
