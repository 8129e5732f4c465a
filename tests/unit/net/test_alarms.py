"""Alarms of several resources, and the one reason made of them."""

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import WorkQueue
from leveret.net.alarms import AlarmPass, Alarms, Resource


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


def test_an_alarm_that_is_held_outlasts_what_is_measured_and_ends_as_measured() -> None:
    reported: list[str] = []
    alarms = Alarms(reported.append)

    alarms.hold(Resource.DISK, True)
    alarms.set(Resource.DISK, True)
    alarms.set(Resource.DISK, False)
    assert reported == ["low on disk"]
    alarms.set(Resource.DISK, True)
    alarms.hold(Resource.DISK, False)
    assert reported == ["low on disk"]
    alarms.set(Resource.DISK, False)
    assert reported == ["low on disk", ""]


class FakeConnection:
    """A connection that counts how often it was told."""

    def __init__(self) -> None:
        self.told = 0

    def alarm_changed(self) -> None:
        self.told += 1


def test_connections_are_told_in_slices_and_again_if_the_alarm_changes_meanwhile() -> None:
    work, over = WorkQueue(), TimeSlice()
    connections = {FakeConnection() for _ in range(10)}
    gone, *others = connections
    alarm_pass = AlarmPass(work, connections)
    alarm_pass.begin()
    connections.discard(gone)
    for slices in range(1, 6):
        work.run_next(over)
        assert sum(each.told for each in others) in (slices - 1, slices)
    alarm_pass.begin()
    before = {each: each.told for each in others}
    while not work.is_empty():
        work.run_next(over)
    assert gone.told == 0
    assert all(each.told == before[each] + 1 for each in others)


def test_without_connections_nobody_is_told() -> None:
    work = WorkQueue()
    AlarmPass(work, set()).begin()
    assert work.is_empty()


def test_the_time_of_each_alarm_is_counted_also_while_it_is_set() -> None:
    now = [10.0]
    alarms = Alarms(lambda _reason: None, lambda: now[0])

    alarms.set(Resource.DISK, True)
    now[0] = 12.0
    alarms.set(Resource.MEMORY, True)
    alarms.set(Resource.DISK, False)
    now[0] = 15.0

    assert (alarms.seconds(Resource.DISK), alarms.seconds(Resource.MEMORY)) == (2.0, 3.0)
    assert (alarms.is_set(Resource.DISK), alarms.is_set(Resource.MEMORY)) == (False, True)
