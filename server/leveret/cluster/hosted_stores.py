"""The stores that this broker serves at the moment: opened, handed over, given up, one by one while
the others go on.

A store is taken and read by threads; in the event loop its virtual hosts are restored in turns, and
served when all of them are there. What waits for the database waits in threads, so the loop never
does. A store that failed, or whose lease is lost, is given up: its clients are told, and nothing of
it is confirmed or written.

Deliberately elsewhere: which stores these are (`agent.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from leveret.cluster.database_memory import DatabaseMemory
from leveret.cluster.placement import vhosts_by_store
from leveret.cluster.store_host import SHUT_OUT, SHUT_OUT_MAX_S, StoreHost
from leveret.datadir.head import decode_head_data, note_log_end, take
from leveret.datadir.transient_runs import TransientRuns
from leveret.engine.broker import Broker
from leveret.engine.hosted_store import HostedStore
from leveret.engine.placement import Placement
from leveret.engine.store_opening import TURN_NS, StoreOpening, VirtualHostsApart
from leveret.engine.values.time_slice import TimeSlice
from leveret.limits import RESTORED_BYTES_MAX
from leveret.logging import get_logger
from leveret.net.server import AmqpServer
from leveret_storage.errors import Damaged, DataLost, LostEpoch, ReadFailed, StorageError
from leveret_storage.format.entries import StoredMessage
from leveret_storage.media.executor import ThreadExecutor
from leveret_storage.media.filesystem import DESCRIPTORS_MAX
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import LogEnd
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.segments.queue_journal import Run

RELEASE_TIMEOUT_S: Final = 0.2
"""Seconds that connections to a store have to release what they use, before it is closed."""

FILES_MIN: Final = 16
"""Files that a store may have open in any case, of those that are on the local disk."""

NOT_MEASURED: Final = 2**50
"""Free bytes of a disk that nothing is written to."""

T = TypeVar("T")

logger = get_logger()


class _Taken(NamedTuple):
    """A store that was taken, and what was found in it."""

    epoch: int
    log_end: LogEnd
    found: Recovery


class _Threads(NamedTuple):
    """What waits for the media of a store."""

    writing: ThreadExecutor
    reading: ThreadExecutor
    transient: TransientRuns


class _Open(NamedTuple):
    """A store that is served."""

    hosted: HostedStore
    medium: Medium
    threads: _Threads


class _Opening:
    """A store that is being opened."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self._error: StorageError | None = None
        self._reading: asyncio.Future[list[StoredMessage]] | None = None

    def fail(self, error: StorageError) -> None:
        """It is not to be opened any more."""
        self._error = self._error or error
        if self._reading is not None and not self._reading.done():
            self._reading.set_exception(error)

    def check(self) -> None:
        """Check that it is to be opened.

        :raises StorageError: why not.
        """
        if self._error is not None:
            raise self._error

    async def read(self, hosted: HostedStore, run: Run) -> list[StoredMessage]:
        """The messages of a run, which the reading thread reads.

        :raises StorageError: if they cannot be read, or the store is given up meanwhile.
        """
        reading: asyncio.Future[list[StoredMessage]] = asyncio.get_running_loop().create_future()
        self._reading = reading
        hosted.store.read_run(
            run, lambda found: None if reading.done() else reading.set_result(found)
        )
        return await reading


class HostedStores(StoreHost):
    """The stores of one broker in a cluster."""

    def __init__(
        self,
        broker: Broker,
        server: AmqpServer,
        placement: Placement,
        open_medium: Callable[[int], Medium],
        local_dir: Path,
        memory: DatabaseMemory,
        node_name: str,
        stores: int,
        refresh: Callable[[], Awaitable[None]],
        files_max: int = DESCRIPTORS_MAX,
        turn_ns: int = TURN_NS,
        shut_out_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        :param open_medium: the medium of a store, not taken.
        :param local_dir: where messages go that need not survive and do not fit into memory.
        :param memory: of what was seen of the stores.
        :param node_name: noted in the head of what is taken.
        :param stores: how many there are.
        :param refresh: reads the metadata again. An owner that goes by older ones would remove what
            an earlier owner has of a virtual host that is new. It may raise a StorageError.
        :param files_max: files that may be open at a time, in all of them together.
        :param turn_ns: nanoseconds for which opening or closing a store goes on before others have
            their turn.
        :param shut_out_s: as in StoreHost.
        """
        self.failed: Callable[[int, StorageError], None] = lambda _store, _error: None
        """Called once with a store that failed, which then has to be given up."""
        self._broker = broker
        self._server = server
        self._placement = placement
        self._open_medium = open_medium
        self._local_dir = local_dir
        self._memory = memory
        self._node_name = node_name
        self._refresh = refresh
        self._turn_ns = turn_ns
        self._shut_out_s = shut_out_s
        self._files_max = max(files_max // stores, FILES_MIN)
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(2 * stores, "leveret-stores")
        self._open: dict[int, _Open] = {}
        self._opening: dict[int, _Opening] = {}
        self._closing: dict[int, Medium] = {}
        self._close_errors: dict[int, StorageError] = {}
        """What went wrong in stores that are handed over."""
        self._ending: dict[int, asyncio.Task[None]] = {}
        """What frees stores that were given up."""
        self._full: set[int] = set()

    def open_stores(self) -> list[int]:
        """Those that are served."""
        return sorted(self._open)

    def shut_out_s(self) -> float:
        return self._shut_out_s()

    async def open(self, store: int) -> int:
        if store in self._ending:
            await self._ending[store]
        if self._shut_out_s() >= SHUT_OUT_MAX_S:
            raise ReadFailed(SHUT_OUT)
        medium = self._open_medium(store)
        opening = self._opening[store] = _Opening(medium)
        async with AsyncExitStack() as on_failure:
            on_failure.callback(self._opening.pop, store)
            on_failure.push_async_callback(self._in_thread, medium.close)
            taken = await self._in_thread(partial(self._take, store, medium))
            await self._refresh()
            threads = await self._in_thread(partial(self._start_threads, store))
            on_failure.push_async_callback(self._in_thread, partial(_abandon_threads, threads))
            hosted = await self._restore(store, opening, threads, taken)
            on_failure.pop_all()
        del self._opening[store]
        self._open[store] = opened = _Open(hosted, medium, threads)
        medium.watch_owner(partial(self._post_ended, store, opened))
        for line in hosted.torn:
            logger.warning("torn end cut", store=store, file=line)
        for name in hosted.foreign:
            logger.warning("ignored: not a table of the storage", store=store, name=name)
        logger.debug("store restored", store=store, vhosts=sorted(hosted.vhosts))
        return taken.epoch

    def _take(self, store: int, medium: Medium) -> _Taken:
        """Take a store, and read it; in a thread."""
        found_epoch, data = medium.read_head()
        noted = decode_head_data(data).log_end
        self._memory.check_store(store, found_epoch)
        epoch = take(medium, found_epoch, self._node_name, noted)
        self._memory.note_epochs({store: epoch})
        seen = self._memory.log_end(store)
        log_end = max(noted, seen)
        try:
            found = recover(medium, spill_bytes=RESTORED_BYTES_MAX, log_end=log_end)
        except Damaged as error:
            if seen <= noted:
                raise
            self._memory.forget_log_end(store)
            self._memory.save_if_possible()
            raise DataLost(
                f"store {store} has not got what this broker had confirmed, since a standby without"
                f" it was promoted or an older state was restored: {error}"
            ) from error
        self._memory.save_if_possible()
        return _Taken(epoch, log_end, found)

    def _start_threads(self, store: int) -> _Threads:
        """Start what waits for the media of a store; in a thread."""
        on_full = partial(self._set_full, store)
        transient = TransientRuns(self._local_dir, store, self._post, on_full, self._files_max)
        writing = ThreadExecutor(f"leveret-write-{store}", self._post, on_full)
        return _Threads(writing, ThreadExecutor(f"leveret-read-{store}", self._post), transient)

    async def _restore(
        self, store: int, opening: _Opening, threads: _Threads, taken: _Taken
    ) -> HostedStore:
        """Restore the virtual hosts of a store, which are served then.

        :raises StorageError: if that fails, or the store is given up meanwhile.
        """
        broker = self._broker
        apart = VirtualHostsApart(broker)
        with ExitStack() as on_failure:
            on_failure.callback(broker.discard_store, apart)
            hosted = broker.open_store(
                opening.medium,
                threads.writing,
                threads.reading,
                partial(self._store_failed, store),
                vhosts=vhosts_by_store(self._placement, broker.metadata).get(store, []),
                log_end=taken.log_end,
                note_log_end=partial(note_log_end, opening.medium, self._node_name),
                found=taken.found,
                number=store,
                transient_runs=threads.transient.runs,
                apart=apart,
            )
            await self._take_turns(opening, hosted)
            broker.add_store(hosted, apart)
            on_failure.pop_all()
        return hosted

    async def _take_turns(self, opening: _Opening, hosted: HostedStore) -> None:
        """Do all steps of opening a store, and have others be served between them.

        :raises StorageError: if one fails, or the store is given up meanwhile.
        """
        turns = StoreOpening(hosted, self._broker.work)
        turns.turn(None, self._turn_ns)
        while not turns.is_done:
            if turns.wanted is None:
                await asyncio.sleep(0)
                messages = None
            else:
                messages = await opening.read(hosted, turns.wanted)
            opening.check()
            turns.turn(messages, self._turn_ns)
        opening.check()

    async def hand_over(self, store: int, reason: str) -> None:
        opened = self._open.pop(store)
        hosted = opened.hosted
        self._closing[store] = opened.medium
        self._broker.withdraw(hosted)
        vhosts = set(hosted.vhosts.values())
        closed = await self._server.close_connections(
            vhosts, reason, RELEASE_TIMEOUT_S, synced=True
        )
        time_slice = TimeSlice()
        for _ in hosted.closing():
            if time_slice.is_over_now():
                await asyncio.sleep(0)
                time_slice.begin(self._turn_ns)
        await self._in_thread(partial(_finish, opened))
        await self._note_log_end(store, hosted)
        del self._closing[store]
        self._broker.forget_contents(hosted)
        self._set_full(store, "")
        logger.debug("store released", store=store, connections=closed, reason=reason)
        error = self._close_errors.pop(store, None)
        if error is not None:
            raise error

    def give_up(self, store: int, reason: str) -> None:
        error = LostEpoch(reason)
        opening = self._opening.get(store)
        if opening is not None:
            opening.fail(error)
        under_way = self._closing.get(store) if opening is None else opening.medium
        if under_way is not None:
            self._threads.submit(under_way.give_up, error)
        opened = self._open.pop(store, None)
        if opened is not None:
            opened.hosted.store.fail(error)
            opened.hosted.definition_log.abandon()
            self._broker.withdraw(opened.hosted)
            ending = self._loop.create_task(self._abandon(store, opened, reason))
            self._ending[store] = ending

    async def _note_log_end(self, store: int, hosted: HostedStore) -> None:
        """Remember how much of a store was durable, for when it is taken again."""
        self._memory.note_log_end(store, hosted.store.log_end())
        await self._in_thread(self._memory.save_if_possible)

    async def _abandon(self, store: int, opened: _Open, reason: str) -> None:
        ended = self._in_thread(partial(_abandon, opened, LostEpoch(reason)))
        vhosts = set(opened.hosted.vhosts.values())
        closed = await self._server.close_connections(
            vhosts, reason, RELEASE_TIMEOUT_S, synced=False
        )
        await ended
        await self._note_log_end(store, opened.hosted)
        self._broker.forget_contents(opened.hosted)
        self._set_full(store, "")
        logger.debug("store released", store=store, connections=closed, reason=reason)
        del self._ending[store]

    async def wait_until_ended(self) -> None:
        """Wait until everything is freed of the stores that were given up."""
        while self._ending:
            await asyncio.wait(list(self._ending.values()))

    def free_bytes(self) -> int:
        """Free bytes of the local disk; 0 while the database or that disk is full.

        :raises StorageError: if they cannot be measured.
        """
        if self._full:
            return 0
        free = [each.threads.transient.free_bytes() for each in self._open.values()]
        return min(free, default=NOT_MEASURED)

    def kill(self) -> None:
        """Write nothing more to any store, and wait for nothing."""
        for opened in self._open.values():
            _abandon(opened, LostEpoch("the broker was killed"))
        self._open.clear()

    # --- threads ------------------------------------------------------------------------------

    def _in_thread(self, job: Callable[[], T]) -> asyncio.Future[T]:
        return self._loop.run_in_executor(self._threads, job)

    def _post(self, hand_over: Callable[[], None]) -> None:
        """Hand over a result from another thread."""
        self._loop.call_soon_threadsafe(self._run_posted, hand_over)

    def _run_posted(self, hand_over: Callable[[], None]) -> None:
        hand_over()
        self._server.run_requested()

    def _store_failed(self, store: int, error: StorageError) -> None:
        if store in self._open:
            logger.error(
                "store failed: nothing of it is confirmed any more", store=store, error=str(error)
            )
            self.failed(store, error)
        elif store in self._opening:
            self._opening[store].fail(error)
        elif store in self._closing:
            self._close_errors[store] = error

    def _post_ended(self, store: int, opened: _Open, error: StorageError) -> None:
        """A medium has another owner, or lacks data, though nothing is written; in any thread."""
        self._post(partial(self._has_ended, store, opened, error))

    def _has_ended(self, store: int, opened: _Open, error: StorageError) -> None:
        if self._open.get(store) is opened:
            opened.hosted.store.fail(error)

    def _set_full(self, store: int, refusal: str) -> None:
        if refusal and store in self._open:
            self._full.add(store)
            logger.warning("database full: the write is retried", store=store, error=refusal)
        elif store in self._full:
            self._full.discard(store)
            logger.warning("the database is not full any more", store=store)
        else:
            return
        self._server.check_resources()


def _finish(opened: _Open) -> None:
    """Wait until a store is closed, and release its media; in a thread."""
    opened.hosted.store.await_closed()
    opened.threads.transient.close()
    opened.medium.close()


def _abandon(opened: _Open, error: StorageError) -> None:
    """End the threads of a store without another write; in a thread."""
    opened.medium.give_up(error)
    _abandon_threads(opened.threads)
    opened.medium.close()


def _abandon_threads(threads: _Threads) -> None:
    """End what waits for the media of a store, without another write; in a thread."""
    threads.writing.abandon()
    threads.reading.abandon()
    threads.transient.abandon()
