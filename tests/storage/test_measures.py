"""What a store measures of itself."""

from leveret_storage.histogram import Histogram
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner


def test_a_histogram_counts_a_value_at_a_bound_in_the_class_below() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 7.0):
        histogram.add(value)
    assert histogram.counts == [2, 2, 1]
    assert (histogram.count, histogram.sum) == (5, 12.0)


def test_each_batch_and_each_sync_is_counted() -> None:
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    for number in range(3):
        owner.publish(queue, number, 1)
        owner.commit()
    measures = owner.store.measures
    assert (measures.batch_bytes.count, measures.sync_seconds.count) == (3, 3)
    assert measures.batch_bytes.sum > 0
    assert measures.write_seconds.count == 0


def test_a_write_without_a_sync_is_counted_as_such() -> None:
    owner = Owner(FaultyMedium(1), sync=False)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 1)
    owner.commit()
    measures = owner.store.measures
    assert (measures.write_seconds.count, measures.sync_seconds.count) == (1, 0)
    owner.store.sync_written()
    owner.run()
    assert measures.sync_seconds.count == 1


def test_the_size_of_the_log_is_that_of_its_blobs_also_after_a_restart() -> None:
    medium = FaultyMedium(1)
    owner = Owner(medium)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 10)
    owner.commit()
    segments, size = owner.store.log_size()
    assert segments == 1
    assert size > 10 * 50
    again = Owner(medium)
    again.run()
    assert again.store.log_size() > (1, size)
