"""A store with the virtual hosts that it carries.

Nothing of a store is global to the process: a broker may have several, each on a medium of its own,
with its own virtual hosts, definitions and commits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TypeAlias, TypeVar

from leveret.engine.lifecycle.records import virtual_host_created
from leveret.engine.metadata.entities import EntityDeleted, VirtualHostEntity, kind_of
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.persistence.checkpoint_work import CheckpointWork
from leveret.engine.persistence.definition_log import DefinitionLog
from leveret.engine.persistence.definitions import decode, encode
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.queue import Queue
from leveret.engine.restore import Restored, SinksByNumber, restore, snapshot
from leveret.engine.values.nested_timers import NestedTimers
from leveret.engine.values.work import WorkQueue
from leveret.engine.vhost import VirtualHost
from leveret.limits import RESTORED_BYTES_MAX
from leveret_storage.errors import StorageError
from leveret_storage.format.entries import DEFINITION, Entry, StoredDefinition, StoredMessage
from leveret_storage.format.file_header import FORMAT_VERSION
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd, note_nothing
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.context import RunMedium
from leveret_storage.store.store import Store

T = TypeVar("T")


class VirtualHostFactory(ABC):
    """Who has all virtual hosts of a process."""

    @abstractmethod
    def create_vhost(self, name: str) -> VirtualHost:
        """Create or return a virtual host that a medium names.

        :raises StorageError: if another store carries it.
        """

    @abstractmethod
    def apply_metadata(self, vhosts: Iterable[VirtualHost]) -> Iterator[None]:
        """Have virtual hosts be as the metadata say, in steps: these and the definitions are
        restored, messages are not."""

    @abstractmethod
    def drop_vhost(self, name: str) -> None:
        """Forget a virtual host that a medium says is deleted."""


class HostedStore(Restored):
    """One store of a broker, and the virtual hosts whose definitions and messages are in it."""

    number: int = 0
    """Of the store in a cluster; 0 without one."""

    timers: NestedTimers | None = None
    """Those of its virtual hosts, where they are its own."""

    store: Store
    """There when `steps` are done, as are the others here."""
    definition_log: DefinitionLog
    torn: list[str]
    """A line for each torn end that was cut, with file, offset and reason."""
    foreign: list[str]
    """Names among the blobs that no store writes, with which nothing was done."""

    def __init__(
        self,
        metadata: Metadata,
        vhosts: dict[str, VirtualHost],
        factory: VirtualHostFactory,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        failed: Callable[[StorageError], None],
        sync: bool = True,
        take: Callable[[], object] | None = None,
        log_end: LogEnd = NOT_NOTED,
        note_log_end: Callable[[LogEnd], None] = note_nothing,
        work: WorkQueue | None = None,
        found: Recovery | None = None,
        transient_runs: RunMedium | None = None,
    ) -> None:
        """Nothing is read yet: `steps` restore what the medium holds, and begin to write to it.

        :param metadata: is restored from the medium if that has any, and persisted there.
        :param vhosts: those that the store carries whether the medium names them or not.
        :param factory: of the others that the medium names: the store carries them, too.
        :param sync: whether a batch is safe only once it is synced, or as soon as it is written.
        :param take: takes the medium, when everything has been read and found to be known, so that
            a start that is refused has changed nothing. None if it is taken already.
        :param log_end: what the owner before noted of the log; what is not here is in `Store`.
        :param work: runs what writes checkpoints; None to write each in one go.
        :param found: what was recovered after the medium was taken; None to recover it here.
        """
        super().__init__(Metadata())
        self.vhosts = vhosts
        """Those that the store carries, by name."""
        self._factory = factory
        self._named: set[str] = set()
        """Virtual hosts that the medium names."""
        read = partial(recover, medium, spill_bytes=RESTORED_BYTES_MAX, log_end=log_end)
        make_store = partial(
            Store,
            medium,
            writing,
            reading,
            snapshot=partial(snapshot, metadata, vhosts),
            synced=self._synced,
            failed=failed,
            sync=sync,
            note_log_end=note_log_end,
            checkpoint_due=self._checkpoint_due(work),
            transient_runs=transient_runs,
        )
        self.steps: Steps = self._open(metadata, read, take, found, make_store)

    def open_at_once(self) -> None:
        """Do all steps, where nobody else is served.

        :raises StorageError: as `steps` do: if the medium cannot be read, is damaged, or newer
            (UnknownFormat).
        """
        try:
            wanted = next(self.steps)
            while True:
                messages = None if wanted is None else self.store.read_run_blocking(wanted)
                wanted = self.steps.send(messages)
        except StopIteration:
            return

    def _open(
        self,
        metadata: Metadata,
        read: Callable[..., Recovery],
        take: Callable[[], object] | None,
        found: Recovery | None,
        make_store: Callable[[], Store],
    ) -> "Steps":
        """Restore what the medium holds, and begin to write to it."""
        found = found or read(taken=take is None)
        restored: SinksByNumber = {}
        yield from restore(self, _taken_from(found.definitions), restored)
        self._adopted = metadata.adopt(self.metadata)
        self.metadata = metadata
        yield from self._factory.apply_metadata(self.vhosts.values())
        if take is not None and not found.complete:
            take()
            take = None
            found = read()
        self.store = make_store()
        self.definition_log = DefinitionLog(self.store)
        yield from _restore_messages(self.store, restored, found)
        if take is not None:
            take()  # Not before: the runs of delayed stores are read only here.
        self._start(found, max(restored, default=0))

    def persist_clock(self) -> None:
        """Persist by how much the time is behind the wall clock."""
        for vhost in self.vhosts.values():
            self.definition_log.write_unawaited(virtual_host_created(vhost))

    def close(self) -> None:
        """Note which messages were delivered, write and sync the open batch, and stop."""
        self.begin_close()
        self.store.await_closed()

    def begin_close(self) -> None:
        """Have the threads of the store do what `close` waits for."""
        for _ in self.closing():
            pass

    def closing(self) -> Iterator[None]:
        """The steps of `begin_close`."""
        for vhost in list(self.vhosts.values()):
            for queue in list(vhost.queues.values()):
                queue.note_delivered_exactly()
                yield
        self.store.begin_close()

    def _start(self, found: Recovery, highest_number: int) -> None:
        """Begin to write, without the segments of queues that no definition names."""
        self.torn, self.foreign = found.torn, found.foreign
        for orphan in found.queues.values():
            found.orphaned.extend(segment.name for segment in orphan.segments)
        next_queue = max(found.next_queue, highest_number) + 1
        unproven = [_in_current_version(entry) for entry in found.unproven]
        self.store.start(found._replace(next_queue=next_queue, unproven=unproven))
        self.metadata.persist(self.definition_log.write)
        if not self._adopted:
            for record in self.metadata.records():
                self.definition_log.write_unawaited(record)
        for vhost in self.vhosts.values():
            # Not before: restored definitions would be written again.
            vhost.attach_store(self.definition_log)
            if vhost.name not in self._named:
                self.definition_log.write_unawaited(virtual_host_created(vhost))

    def vhost_named(self, name: str) -> VirtualHost:
        self._named.add(name)
        vhost = self.vhosts.get(name)
        if vhost is None:
            vhost = self.vhosts[name] = self._factory.create_vhost(name)
        return vhost

    def vhost_deleted(self, name: str) -> VirtualHost | None:
        vhost = self.vhosts.pop(name, None)
        if vhost is not None:
            self._factory.drop_vhost(name)
        return vhost

    def add(self, vhost: VirtualHost) -> None:
        """Carry a virtual host that was created."""
        self.vhosts[vhost.name] = vhost
        self.definition_log.write(virtual_host_created(vhost))
        vhost.attach_store(self.definition_log)

    def remove(self, name: str) -> None:
        """Carry a virtual host no longer that was deleted from metadata that are not in the store:
        what follows in the store under its name is another one's."""
        if self.vhosts.pop(name, None) is not None:
            self.definition_log.write(EntityDeleted(kind_of(VirtualHostEntity), (name,)))

    def _checkpoint_due(self, work: WorkQueue | None) -> Callable[[], None] | None:
        """What continues a checkpoint; None to write each in one go."""
        if work is None:
            return None
        return CheckpointWork(work, self._write_checkpoint).continue_checkpoint

    def _write_checkpoint(self, is_over: Callable[[], bool]) -> bool:
        return self.store.write_checkpoint(is_over)

    def _synced(self) -> None:
        self.definition_log.synced()


def _taken_from(found: list[T]) -> Iterator[T]:
    """The items of a list, which is empty afterwards: what was found is freed piece by piece."""
    found.reverse()
    while found:
        yield found.pop()


def _in_current_version(entry: Entry) -> Entry:
    """An entry that is repeated in a log segment of the current format version."""
    if entry.kind != DEFINITION or entry.version == FORMAT_VERSION:
        return entry
    return entry._replace(data=encode(decode(StoredDefinition(entry.data, entry.version, "", 0))))


def _restore_messages(store: Store, sinks: SinksByNumber, found: Recovery) -> "Steps":
    """Give every queue and delayed store its messages, by the numbers that the store has for it."""
    levels: dict[Queue | DelayedStore, list[tuple[QueueJournal, RecoveredQueue]]] = {}
    for number, sink in sinks.items():
        if sink.deleted:
            continue
        recovered = found.queues.pop(number, None)
        if recovered is None:
            if sink in levels and isinstance(sink, Queue):
                # A level of priority that never had a message.
                continue
            recovered = RecoveredQueue(number)
        levels.setdefault(sink, []).append((store.restore_queue(number, recovered), recovered))
        yield None
    for sink in list(levels):
        its_levels = levels.pop(sink)
        if isinstance(sink, Queue):
            sink.restore(store, its_levels)
        else:
            yield from _restore_delayed(store, sink, *its_levels)
        yield None


def _restore_delayed(
    store: Store,
    delayed: DelayedStore,
    memtables: tuple[QueueJournal, RecoveredQueue],
    sorted_runs: tuple[QueueJournal, RecoveredQueue],
) -> "Steps":
    delayed.begin_restore(store, *memtables)
    for item in memtables[1].contents:
        if isinstance(item, LoggedMessages):
            delayed.restore_logged(item)
        else:
            messages = yield item
            if messages is None:
                raise TypeError("a run that was asked for is missing")
            delayed.restore_run(item, messages)
        yield None
    delayed.sorted_runs.restore(store, *sorted_runs)


Steps: TypeAlias = Generator[Run | None, list[StoredMessage] | None, None]
"""Steps of opening a store, between which others may have their turn. One that yields a run is sent
its messages."""
