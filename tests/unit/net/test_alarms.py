"""Alarms of several resources, and the one reason made of them."""

from leveret.net.alarms import Alarms, Resource


def test_the_reason_names_the_short_resources_in_one_order() -> None:
    reported: list[str] = []
    alarms = Alarms(reported.append)

    alarms.set(Resource.DISK, True)
    alarms.set(Resource.MEMORY, True)
    alarms.set(Resource.DISK, False)
    alarms.set(Resource.MEMORY, False)

    assert reported == ["low on disk", "low on memory & disk", "low on memory", ""]


def test_an_unchanged_alarm_is_not_reported_again() -> None:
    reported: list[str] = []
    alarms = Alarms(reported.append)

    alarms.set(Resource.DISK, False)
    for _ in range(2):
        alarms.set(Resource.MEMORY, True)

    assert reported == ["low on memory"]
