"""Copying all data of a broker: from a directory to a database that brokers share, and back.

A source has one or more stores, and metadata; so has a target, with another number of stores. Each
virtual host goes to the store that the target has for it, with the messages of its queues at their
positions, so everything that is known of a position (deliveries, delays, priorities) holds there,
too. Journals get numbers of their own where several stores become one.

The target is marked in its heads before anything is written, and the mark is removed when all of it
was read back and found equal: a broker refuses what is marked. In memory are the definitions, the
positions, and what the commit logs of the source have.

Deliberately elsewhere: what source and target are (`copy_places.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import msgspec

from leveret.datadir.dump import restored
from leveret.datadir.head import IncompleteCopy, encode_incomplete, read_head_data
from leveret.engine.metadata.entities import EntityDeleted, VirtualHostEntity, kind_of
from leveret.engine.metadata.metadata import Metadata, Record
from leveret.engine.persistence.definitions import (
    Definition,
    DelayedStoreCreated,
    QueueDeclared,
    decode,
    encode,
)
from leveret.engine.routing.sink import Sink
from leveret_storage.errors import StorageError
from leveret_storage.format.entries import ABSENT
from leveret_storage.medium import Medium
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.recovered_queue import RecoveredQueue
from leveret_storage.store.store_writer import StoreWriter, parts_of


class CopyRefused(StorageError):
    """Nothing was copied: the text says why."""


class CopyFailed(StorageError):
    """What was written is not what was read. The target stays marked."""


class Place(ABC):
    """A directory or a database, as a source or a target."""

    @abstractmethod
    def media(self) -> list[Medium]:
        """The medium of each store, by its number."""

    @abstractmethod
    def read_metadata(self) -> Metadata | None:
        """The metadata, if they are not in a store."""

    @abstractmethod
    def has_metadata(self) -> bool:
        """Whether there are metadata that are not in a store."""

    @abstractmethod
    def write_metadata(self, metadata: Metadata) -> bool:
        """Write the metadata to where nothing is; False if they belong into the store.

        :raises CopyFailed: if somebody else writes, too.
        """

    @abstractmethod
    def store_of(self, vhost: str, pin: int) -> int:
        """The number of the store that a virtual host belongs to.

        :param pin: that it is pinned to; negative if it is not.
        """

    @abstractmethod
    def check_unused(self) -> None:
        """Check that no broker uses it.

        :raises CopyRefused: if one does.
        """

    @abstractmethod
    def close(self) -> None:
        """Release it."""


@dataclass
class _VirtualHost:
    """What a source has of a virtual host."""

    origin: int
    """The number of its store."""
    definitions: list[Definition] = field(default_factory=list)
    journals: list[int] = field(default_factory=list)
    """The numbers of the journals of its queues and delayed exchanges."""


class Copied(NamedTuple):
    """What was copied, for operators."""

    vhosts: int
    queues: int
    """Durable ones, and delayed exchanges."""
    messages: int
    stores: int
    """Of the target that have a virtual host."""


@dataclass
class _Source:
    """What was read of a source, but for messages on disk."""

    media: list[Medium]
    found: list[Recovery]
    metadata: Metadata
    vhosts: dict[str, _VirtualHost]
    queues: int
    shifts: list[int]
    """What is added to the numbers of the journals of each store, so that no two are equal."""


Progress = Callable[[str], None]


def copy(source: Place, target: Place, progress: Progress) -> Copied:
    """Copy everything.

    :param progress: called with a line for the operator, now and then.
    :raises CopyRefused: if source or target is in use, or the target is not empty.
    :raises CopyFailed: if what was written is not what was read.
    :raises StorageError: if anything cannot be read or written.
    """
    source.check_unused()
    target.check_unused()
    media = target.media()
    for number, medium in enumerate(media):
        _check_empty(medium, number)
    if target.has_metadata():
        raise CopyRefused("the target is not empty: it has users or virtual hosts")
    before = [medium.read_head() for medium in source.media()]
    try:
        read = _read(source)
    except StorageError as error:
        raise CopyRefused(f"the source: {error}") from error
    parts = _parts(read, target)
    progress(f"{len(read.vhosts)} virtual hosts with {read.queues} queues")
    for medium in media:
        medium.write_head(0, 1, encode_incomplete())
    in_store = [] if target.write_metadata(read.metadata) else list(read.metadata.records())
    messages = 0
    for number, (medium, part) in enumerate(zip(media, parts, strict=True)):
        records = [*in_store, *_definitions(read, part)]
        writer = StoreWriter(medium)
        for journal, origin, queue in _queues(read, part):
            messages += writer.write_queue(journal, read.media[origin], queue, origin)
        writer.finish(map(encode, records))
        _verify(read, part, records, medium)
        if part:
            progress(f"store {number}: {len(part)} virtual hosts written and read back")
    if [medium.read_head() for medium in source.media()] != before:
        raise CopyFailed("the source was used while it was copied: remove the target, begin again")
    _check_unused_still(source, target)
    for medium in media:
        medium.write_head(1, 1, b"")
    used = sum(1 for part in parts if part)
    return Copied(len(read.vhosts), read.queues, messages, used)


def _check_empty(medium: Medium, number: int) -> None:
    epoch, _ = medium.read_head()
    if epoch or medium.list():
        try:
            read_head_data(medium)
        except IncompleteCopy as error:
            raise CopyRefused(f"the target: {error}") from None
        raise CopyRefused(f"the target is not empty: store {number} has data")


def _check_unused_still(source: Place, target: Place) -> None:
    try:
        source.check_unused()
        target.check_unused()
    except CopyRefused as error:
        raise CopyFailed(f"it was used while it was copied: {error}") from None


# --- reading ------------------------------------------------------------------------------------


def _read(source: Place) -> _Source:
    media = source.media()
    metadata = source.read_metadata()
    has_own = metadata is not None
    metadata = metadata or Metadata()
    vhosts: dict[str, _VirtualHost] = {}
    found: list[Recovery] = []
    shifts: list[int] = []
    shift = queues = 0
    for origin, medium in enumerate(media):
        recovery = recover(medium, log_end=read_head_data(medium).log_end)
        found.append(recovery)
        shifts.append(shift)
        here = _vhosts_of(recovery, origin, None if has_own else metadata)
        for name, vhost in here.items():
            if name in vhosts:
                raise CopyRefused(f"the virtual host {name!r} is in two stores of the source")
            vhosts[name] = vhost
        highest, count = _add_journals(recovery, here)
        queues += count
        shift += max(highest, recovery.next_queue)
    for name in vhosts:
        if metadata.get(VirtualHostEntity, name) is None:
            metadata.put(VirtualHostEntity(name))
    return _Source(media, found, metadata, vhosts, queues, shifts)


def _vhosts_of(
    recovery: Recovery, origin: int, metadata: Metadata | None
) -> dict[str, _VirtualHost]:
    """The virtual hosts of a store, with their definitions in order. What the store has of the
    metadata is added to `metadata`."""
    vhosts: dict[str, _VirtualHost] = {}
    deleted = kind_of(VirtualHostEntity)
    for stored in recovery.definitions:
        record = decode(stored)
        if isinstance(record, Definition):
            vhosts.setdefault(record.vhost, _VirtualHost(origin)).definitions.append(record)
            continue
        if metadata is not None:
            metadata.restore(record)
        if isinstance(record, EntityDeleted) and record.entity == deleted:
            # Of the next one of this name nothing was before.
            vhosts.pop(record.key[0], None)
    return vhosts


def _add_journals(recovery: Recovery, vhosts: dict[str, _VirtualHost]) -> tuple[int, int]:
    """Add the numbers of the journals that exist; the highest of them, and how many queues and
    delayed exchanges they are of."""
    definitions, sinks = restored(recovery.definitions)
    owners: dict[Sink, str] = {}
    for name, vhost in definitions.vhosts.items():
        for sink in [*vhost.queues.values(), *vhost.delayed_stores.values()]:
            owners[sink] = name
    counted = set()
    for number, sink in sorted(sinks.items()):
        if sink in owners:
            counted.add(sink)
            vhosts[owners[sink]].journals.append(number)
    return max(sinks, default=0), len(counted)


# --- distributing -------------------------------------------------------------------------------


def _parts(read: _Source, target: Place) -> list[list[str]]:
    """The names of the virtual hosts of each store of the target."""
    parts: list[list[str]] = [[] for _ in target.media()]
    for name in sorted(read.vhosts):
        entity = read.metadata.get(VirtualHostEntity, name)
        pin = -1 if entity is None else entity.store
        parts[target.store_of(name, pin)].append(name)
    return parts


def _definitions(read: _Source, part: list[str]) -> Iterator[Record]:
    for name in part:
        vhost = read.vhosts[name]
        yield from map(partial(_renumbered, read.shifts[vhost.origin]), vhost.definitions)


def _renumbered(shift: int, record: Definition) -> Definition:
    if isinstance(record, QueueDeclared):
        return msgspec.structs.replace(record, number=record.number + shift)
    if isinstance(record, DelayedStoreCreated):
        return msgspec.structs.replace(
            record,
            number=record.number + shift,
            sorted_runs_number=record.sorted_runs_number + shift,
        )
    return record


def _queues(read: _Source, part: list[str]) -> Iterator[tuple[int, int, RecoveredQueue]]:
    """The number of each journal in the target, the number of its store in the source, and what
    was found of it there."""
    for name in part:
        vhost = read.vhosts[name]
        for number in vhost.journals:
            queue = read.found[vhost.origin].queues.get(number)
            if queue is not None:
                yield number + read.shifts[vhost.origin], vhost.origin, queue


# --- reading back -------------------------------------------------------------------------------


def _verify(read: _Source, part: list[str], records: list[Record], medium: Medium) -> None:
    """Check that a store of the target has what the source has.

    :raises CopyFailed: if it has not.
    """
    found = recover(medium)
    if [decode(each) for each in found.definitions] != records:
        raise CopyFailed("the definitions that were written are not those that were read")
    remaining = dict(found.queues)
    for number, origin, queue in _queues(read, part):
        copied = remaining.pop(number, None) or RecoveredQueue(number)
        if (copied.count, copied.next_position, int(copied.delivered_end)) != (
            queue.count,
            queue.next_position,
            int(queue.delivered_end),
        ):
            raise CopyFailed(
                f"queue {number} has {copied.count} messages, and {queue.count} were read"
            )
        pairs = zip(_messages(medium, copied), _messages(read.media[origin], queue), strict=True)
        for one, other in pairs:
            if one != other:
                raise CopyFailed(f"message {other[0]} of queue {number} is not what was read")
    if any(queue.count for queue in remaining.values()):
        raise CopyFailed("there are messages that were not written")


def _messages(medium: Medium, queue: RecoveredQueue) -> Iterator[tuple[object, ...]]:
    """What each message of a queue is."""
    for first, messages in parts_of(medium, queue):
        for position, each in enumerate(messages, first):
            if each is not ABSENT:
                yield (
                    position,
                    each.route,
                    each.header,
                    each.body,
                    each.persistent,
                    int(each.arrived),
                    int(each.expires_at),
                )
