"""Reads a data directory without a broker, for `leveret log`.

Without `read_only` the directory is locked while it is read, so that no broker can start on it.
With it nothing is written or locked, and the log is read up to one instant.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leveret.datadir.dump import Definitions, Plain, plain_definitions, plain_message, restored
from leveret.datadir.head import check_head, read_head_data
from leveret.engine.queues.priority_backlog import within_priority
from leveret.engine.routing.sink import Sink
from leveret.os_errors import plain_words
from leveret_storage.errors import Damaged, ReadFailed, StorageError, UnknownFormat
from leveret_storage.format.record_reader import Damage
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.locations import directory_of, is_postgres, open_medium
from leveret_storage.medium import Medium
from leveret_storage.recovery.directory_snapshot import DirectorySnapshot
from leveret_storage.recovery.inspection import Inspection, inspect
from leveret_storage.recovery.log_end import NOT_NOTED
from leveret_storage.recovery.recover import recover
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import read_messages
from leveret_storage.segments.segment_writer import log_number, queue_numbers

ReportDamage = Callable[[Damage], None]


def open_location(location: str, read_only: bool) -> Medium:
    """The medium at a location, which has data. That of a database is read as it is.

    :raises StorageError: DirectoryLocked if it is in use, ReadFailed if it cannot be read.
    """
    if is_postgres(location):
        return open_medium(location, read_only=True)
    return open_directory(directory_of(location), read_only)


def open_directory(directory: Path, read_only: bool) -> Medium:
    """The medium of a data directory that exists.

    :raises StorageError: DirectoryLocked if it is in use, ReadFailed if it cannot be read.
    """
    try:
        is_data_directory = (directory / "blobs").is_dir()
    except OSError as error:
        raise ReadFailed(f"{directory} cannot be read: {plain_words(error)}") from None
    if not is_data_directory:
        if not directory.exists():
            raise ReadFailed(f"{directory}: no such directory")
        raise ReadFailed(f"{directory} is no data directory: it has no blobs/")
    return DirectorySnapshot(directory) if read_only else FilesystemMedium(directory)


@dataclass
class Contents:
    """What a directory holds."""

    medium: Medium
    definitions: Definitions
    sinks: dict[int, Sink]
    """The declared queues and the stores of delayed exchanges, by their number."""
    found: dict[int, RecoveredQueue]
    """Those with anything in the log or on disk."""
    log: list[int]
    """The numbers of the log segments."""
    torn: list[str]

    def named(self) -> Iterator[tuple[str, str, list[RecoveredQueue]]]:
        """Every declared queue and delayed exchange: its virtual host, its name, and what was found
        of each of its levels of priority, the highest first."""
        numbers: dict[Sink, list[int]] = {}
        for number, sink in self.sinks.items():
            numbers.setdefault(sink, []).insert(0, number)
        for vhost in self.definitions.vhosts.values():
            sinks: list[tuple[str, Sink]] = [*vhost.queues.items(), *vhost.delayed_stores.items()]
            for name, sink in sinks:
                if sink not in numbers:
                    # An exchange that is not durable persists nothing.
                    continue
                levels = [self.found.get(each) or RecoveredQueue(each) for each in numbers[sink]]
                yield vhost.name, name, levels


def read_contents(medium: Medium, damaged: ReportDamage) -> Contents:
    """Read what a start would find.

    :param damaged: called with all damage, at which a start would stop.
    :raises UnknownFormat: if a newer program wrote any of it.
    :raises StorageError: if it cannot be read.
    """
    damage = check_head(medium)
    log_end = NOT_NOTED if damage else read_head_data(medium).log_end
    found = recover(medium, damaged, log_end=log_end)
    definitions, sinks = restored(found.definitions)
    log = [number for number, _, _ in found.log]
    return Contents(medium, definitions, sinks, found.queues, log, found.torn)


# --- check ----------------------------------------------------------------------------------


@dataclass
class Findings:
    """What `check` reports: a line for each problem, and for each torn end."""

    problems: list[str]
    torn: list[str]
    inspection: Inspection


def check(medium: Medium, location: str) -> Findings:
    """Read every byte of a medium.

    :raises UnknownFormat: if a newer program wrote any of it.
    :raises StorageError: if it cannot be read.
    """
    seen = inspect(medium)
    where = f"{location}: " if is_postgres(location) else f"{directory_of(location) / 'blobs'}/"
    damages = list(seen.damages)
    inspected = {(damage.blob, damage.offset) for damage in damages}

    def found_by_start(damage: Damage) -> None:
        if (damage.blob, damage.offset) not in inspected:
            damages.append(damage)

    head = check_head(medium)
    log_end = NOT_NOTED if head else read_head_data(medium).log_end
    definitions = recover(medium, found_by_start, log_end=log_end).definitions
    problems = [
        f"{where}{damage.blob}: offset {damage.offset} to {damage.end}: {damage.why}"
        for damage in damages
    ]
    if head:
        problems.append(head)
    try:
        restored(definitions)
    except Damaged as error:
        problems.append(f"{where}{error}")
    torn = [f"{where}{end.blob}: torn at offset {end.offset}: {end.why}" for end in seen.torn]
    return Findings(problems, torn, seen)


# --- dump -----------------------------------------------------------------------------------


def queue_messages(
    contents: Contents, vhost: str, queue: str, found: RecoveredQueue, unread: Callable[..., None]
) -> Iterator[Plain]:
    """The messages of a queue, or one level of its priorities, that a start would find, in order.

    A run that cannot be read is left out, and `unread` is called with the StorageError.
    """
    for item in found.contents:
        if isinstance(item, LoggedMessages):
            for position, message in enumerate(item.messages, item.first):
                yield plain_message(vhost, queue, position, message)
            continue
        try:
            messages, missing = read_messages(contents.medium, item, [item])
            if missing:
                raise Damaged(f"{item.segment.name}: the body of message {missing[0]} is missing")
        except UnknownFormat:
            raise
        except StorageError as error:
            unread(error)
            continue
        for first, end in item.live:
            for position in range(first, end):
                message = messages[position - int(item.first)]
                yield plain_message(vhost, queue, position, message)


def dump(
    contents: Contents,
    *,
    definitions: bool,
    queue: str | None,
    vhost: str | None,
    unread: Callable[..., None],
) -> Iterator[Plain]:
    """Definitions, and messages: of the one queue, or of all unless only definitions are wanted."""
    if definitions or queue is None:
        for item in plain_definitions(contents.definitions):
            if vhost is None or item["vhost"] == vhost:
                yield item
    if definitions and queue is None:
        return
    for name, each, levels in contents.named():
        if vhost in (None, name) and queue in (None, each):
            for found in levels:
                yield from queue_messages(contents, name, each, found, unread)


def contains(item: Plain, text: str) -> bool:
    """Whether a text is anywhere in what a line of a dump says, names of fields left out."""
    return any(text in value for value in _texts(item))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


# --- stats ----------------------------------------------------------------------------------


def stats(contents: Contents) -> Plain:
    """Sizes, segments, and queues with their counts."""
    sizes = {name: contents.medium.size(name) for name in contents.medium.list()}
    log = {name: size for name, size in sizes.items() if log_number(name) is not None}
    runs = {name: size for name, size in sizes.items() if queue_numbers(name) is not None}
    epoch, _ = contents.medium.read_head()
    return {
        "epoch": epoch,
        "bytes": sum(sizes.values()),
        "log": {
            "segments": len(log),
            "bytes": sum(log.values()),
            "oldest": min(log, default=None),
            "newest": max(log, default=None),
        },
        "queue_segments": {"segments": len(runs), "bytes": sum(runs.values())},
        "queues": [_queue_stats(sizes, *each) for each in contents.named()],
        "torn": contents.torn,
    }


def _queue_stats(
    sizes: dict[str, int], vhost: str, queue: str, levels: list[RecoveredQueue]
) -> Plain:
    names = [segment.name for found in levels for segment in found.segments]
    messages = sum(found.count for found in levels)
    arrived = sum(within_priority(found.next_position) for found in levels)
    return {
        "vhost": vhost,
        "name": queue,
        "number": levels[-1].number,
        "messages": messages,
        "settled": arrived - messages,
        "next_position": arrived,
        "segments": len(names),
        "segment_bytes": sum(sizes[name] for name in names),
        "oldest_segment": min(names, default=None),
    }
