"""The targets of an index: destinations of bindings, each with the number of bindings to it.

An exchange has one for each key, word or criterion, and most of them have one destination that is
bound once. That one is its own `Targets`, without a dictionary around it, which saves most of the
memory of a binding.
"""

from collections.abc import Hashable

from leveret.engine.routing.exchanges.base import Destination

Targets = Destination | dict[Destination, int]
"""The only destination, if it is bound once; else the number of bindings to each, none empty."""


def with_target(targets: Targets | None, destination: Destination) -> Targets:
    """Targets with one more binding to a destination; those given are used up."""
    if targets is None:
        return destination
    counts = targets if isinstance(targets, dict) else {targets: 1}
    counts[destination] = counts.get(destination, 0) + 1
    return counts


def without_target(targets: Targets | None, destination: Destination) -> Targets | None:
    """Targets with one binding less to a destination; None if it was the last one.

    :raises KeyError: if the destination is not among them.
    """
    if not isinstance(targets, dict):
        if targets is not destination:
            raise KeyError(destination.name)
        return None
    count = targets[destination] - 1
    if count:
        targets[destination] = count
    else:
        del targets[destination]
    if len(targets) == 1:
        for last, bindings in targets.items():
            if bindings == 1:
                return last
    return targets if targets else None


def append_targets(targets: Targets | None, into: list[Destination]) -> None:
    """Append each destination once."""
    if targets is None:
        return
    if isinstance(targets, dict):
        into.extend(targets)
    else:
        into.append(targets)


class TargetIndex:
    """Targets by key: a routing key, or a criterion of the headers exchange."""

    def __init__(self) -> None:
        self._targets: dict[Hashable, Targets] = {}

    def add(self, key: Hashable, destination: Destination) -> None:
        """Count one more binding with a key to a destination."""
        self._targets[key] = with_target(self._targets.get(key), destination)

    def remove(self, key: Hashable, destination: Destination) -> None:
        """Count one binding with a key to a destination less.

        :raises KeyError: if there is none.
        """
        targets = without_target(self._targets.get(key), destination)
        if targets is None:
            del self._targets[key]
        else:
            self._targets[key] = targets

    def append(self, key: Hashable, into: list[Destination]) -> None:
        """Append the destinations of a key, each once."""
        append_targets(self._targets.get(key), into)
