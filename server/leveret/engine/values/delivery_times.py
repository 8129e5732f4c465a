"""When the deliveries of a channel were made, about, without a time for each of them.

Once a second the last delivery tag is noted with the time. Tags grow, so a delivery was made before
the first note whose tag is not lower than its own, and after the note before.
"""

from typing import Final

from mypy_extensions import i64

NOTES_MAX: Final = 64
"""Notes of a channel. If there are more, every second one is dropped: what is unacknowledged for
long is known less exactly."""


class DeliveryTimes:
    """Of one channel."""

    def __init__(self) -> None:
        self._tags: list[int] = []
        self._times: list[int] = []

    def note(self, oldest: i64, last: i64, now: i64) -> None:
        """
        :param oldest: the lowest tag that is unacknowledged; one above `last` if none is.
        :param last: the last tag that was delivered.
        :param now: milliseconds.
        """
        tags = self._tags
        done = 0
        while done < len(tags) and tags[done] < oldest:
            done += 1
        if done != 0:
            del tags[:done]
            del self._times[:done]
        if last < oldest or (tags and tags[-1] >= last):
            return
        tags.append(int(last))
        self._times.append(int(now))
        if len(tags) > NOTES_MAX:
            # The first and the last one stay.
            self._tags = [*tags[:1], *tags[2::2]]
            self._times = [*self._times[:1], *self._times[2::2]]

    def time_of(self, tag: i64) -> int:
        """When a delivery was first known to be made, in milliseconds; 0 if it was not seen yet."""
        for at, noted in enumerate(self._tags):
            if noted >= tag:
                return self._times[at]
        return 0
