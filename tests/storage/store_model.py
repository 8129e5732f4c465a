"""The model of a store: what has to be found after a crash, and what was found.

The state after some number of batches is the model's; `read_out` brings what `recover` found into
the same form.
"""

from typing import Any, NamedTuple, TypeAlias

from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.recover import Recovery
from leveret_storage.recovery.recovered_queue import LoggedMessages
from leveret_storage.segments.queue_journal import QueueJournal, Run, read_messages
from tests.storage.faulty import FaultyMedium

Operation: TypeAlias = tuple[Any, ...]
Batch: TypeAlias = list[Operation]
MessageFields: TypeAlias = tuple[bytes, int, int]
"""What is compared of a message: its body, when it arrived, its owner's time."""


class QueueState:
    """What has to be there of a durable queue."""

    def __init__(self) -> None:
        self.messages: dict[int, MessageFields] = {}
        self.settled: set[int] = set()
        """Settled positions: a message that waited for the disk may come behind its settlement."""
        self.delivered_end = 0
        self.known_end = 0
        """The position behind all that anything was said of."""

    def copy(self) -> "QueueState":
        other = QueueState()
        other.messages = dict(self.messages)
        other.settled = set(self.settled)
        other.delivered_end = self.delivered_end
        other.known_end = self.known_end
        return other


class State:
    """What has to be there after some number of batches."""

    def __init__(self) -> None:
        self.definitions: list[bytes] = []
        self.queues: dict[int, QueueState] = {}

    def copy(self) -> "State":
        other = State()
        other.definitions = list(self.definitions)
        other.queues = {number: queue.copy() for number, queue in self.queues.items()}
        return other

    def apply(self, batch: Batch) -> None:
        for operation in batch:
            match operation:
                case ("message", number, position, fields):
                    if number in self.queues:
                        if position not in self.queues[number].settled:
                            self.queues[number].messages[position] = fields
                        self._known(number, position + 1)
                case ("settle", number, first, end):
                    if number in self.queues:
                        for position in range(first, end):
                            self.queues[number].messages.pop(position, None)
                        self.queues[number].settled.update(range(first, end))
                        self._known(number, end)
                case ("deliver", number, end):
                    if number in self.queues:
                        self.queues[number].delivered_end = end
                case ("define", data):
                    self.definitions.append(data)
                case ("add", number):
                    self.queues[number] = QueueState()
                case ("drop", number):
                    del self.queues[number]
                case _:
                    raise AssertionError(operation)

    def _known(self, number: int, end: int) -> None:
        queue = self.queues[number]
        queue.known_end = max(queue.known_end, end)

    def difference(self, found: "Found") -> str:
        """How what was found differs from this, in one line; or nothing."""
        # One that was made while a checkpoint was written may be found twice.
        if set(found.definitions) != set(self.definitions):
            return f"definitions {found.definitions}, not {self.definitions}"
        if found.messages.keys() != self.queues.keys():
            return f"queues {sorted(found.messages)}, not {sorted(self.queues)}"
        for number, queue in self.queues.items():
            there, wanted = found.messages[number], queue.messages
            if there != wanted:
                lost = sorted(wanted.keys() - there.keys())
                more = sorted(there.keys() - wanted.keys())
                return f"queue {number}: without positions {lost}, and with {more}"
            delivered_end = found.delivered_ends[number]
            for position in there:
                if (position < delivered_end) != (position < queue.delivered_end):
                    wanted_end = queue.delivered_end
                    return f"queue {number}: delivered up to {delivered_end}, not {wanted_end}"
            if found.next_positions[number] < queue.known_end:
                return f"queue {number}: would use {found.next_positions[number]} again"
        return ""


class Found(NamedTuple):
    """What recovery found, read out."""

    definitions: list[bytes]
    messages: dict[int, dict[int, MessageFields]]
    next_positions: dict[int, int]
    delivered_ends: dict[int, int]


def read_out(medium: FaultyMedium, recovery: Recovery) -> Found:
    """Everything in the queues, each checked for order and count."""
    messages: dict[int, dict[int, MessageFields]] = {}
    for number, queue in recovery.queues.items():
        found: list[tuple[int, MessageFields]] = []
        for part in queue.contents:
            if isinstance(part, LoggedMessages):
                found += [
                    (at, fields_of(each)) for at, each in enumerate(part.messages, part.first)
                ]
                continue
            stored, missing = read_messages(medium, part, [part])
            assert not missing, f"queue {number}: no bodies for {missing}"
            for first, end in part.live:
                part_messages = stored[first - int(part.first) : end - int(part.first)]
                found += [(at, fields_of(each)) for at, each in enumerate(part_messages, first)]
        positions = [position for position, _ in found]
        assert positions == sorted(set(positions)), f"queue {number}: positions {positions}"
        assert queue.count == len(found), f"queue {number}: {queue.count} for {len(found)}"
        messages[number] = dict(found)
    next_positions = {number: queue.next_position for number, queue in recovery.queues.items()}
    delivered_ends = {number: queue.delivered_end for number, queue in recovery.queues.items()}
    definitions = [each.data for each in recovery.definitions]
    return Found(definitions, messages, next_positions, delivered_ends)


def fields_of(message: StoredMessage) -> MessageFields:
    """What is compared of a message."""
    return message.body, int(message.arrived), int(message.expires_at)


class OwnedQueue:
    """A queue as its owner sees it."""

    def __init__(self, log: QueueJournal, next_position: int) -> None:
        self.log = log
        self.next_position = next_position
        self.messages: dict[int, StoredMessage] = {}
        self.in_run: set[int] = set()
        self.runs: list[Run] = []
