"""The handle of a broker that belongs to a test.

    with Broker() as broker:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))

All calls are synchronous and take some milliseconds at most. They may be made from coroutines, too,
because the broker has a thread or a process of its own. What waits for the application under test
has a twin for coroutines, with `_async` behind its name.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from enum import Enum
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast
from urllib.parse import quote

from leveret.testing.activity import Activity
from leveret.testing.changes import Changes, one_at_a_time
from leveret.testing.commands import Commands
from leveret.testing.driver import Driver
from leveret.testing.errors import BrokerError, UnmetExpectation, is_of_the_test
from leveret.testing.faults import Faults
from leveret.testing.importing import without_collections
from leveret.testing.options import Options
from leveret.testing.ports import ReservedPort
from leveret.testing.publishes import BYTES_MAX, MESSAGES_MAX, Publishes
from leveret.testing.queue_handle import Queue
from leveret.testing.spans import milliseconds
from leveret.testing.values import Connection, Consumer, Published, QueueStatus
from leveret.testing.waiting import TIMEOUT_S, wait, wait_async
from leveret.testing.words import counted

P = ParamSpec("P")
R = TypeVar("R")

__tracebackhide__: Final = is_of_the_test

LOCALHOST: Final = "127.0.0.1"


class State(Enum):
    """What a broker does; the value completes "the broker is"."""

    DOWN = "not running"
    RUNNING = "running"
    PAUSED = "paused"


class Broker:
    """A broker of its own, on a free port, which keeps everything in memory unless it is given a
    directory."""

    def __init__(
        self,
        directory: str | PathLike[str] | None = None,
        *,
        process: bool = False,
        port: int = 0,
        management: bool = False,
        settings: Mapping[str, object] | None = None,
        log_level: str = "info",
    ) -> None:
        """
        :param directory: where durable queues and persistent messages are kept, so that they
            survive `restart` and `kill`. None keeps everything in memory.
        :param process: run in a process of its own, not in a thread of this one.
        :param port: to listen on; 0 is a free one.
        :param management: serve the HTTP API and the management page, too.
        :param settings: configuration keys such as "consumer.timeout" (docs/configuration.md).
        :param log_level: least severe level that `log` has: debug, info, warning or error.
        """
        self.host = LOCALHOST
        self.directory = None if directory is None else fspath(directory)
        self._process = process
        self._wanted_port = port
        self._management = management
        self._settings = dict(settings or {})
        self._log_level = log_level
        self._ports: list[ReservedPort] = []
        """For AMQP and HTTP, from the first start to `close`."""
        self.faults = Faults(self._call)
        """What goes wrong because the test says so."""
        self._publishes = Publishes(self._call)
        self.starts = 0
        """How often it was started."""
        self._driver: Driver | None = None
        self._inherited: Driver | None = None
        """The driver of the process that forked this one: nobody may close its sockets here."""
        self._state = State.DOWN
        self._changes = Changes()
        self._advanced_ms = 0
        """Milliseconds of time travel since the last reset."""

    def __repr__(self) -> str:
        where = f" on port {self.port}" if self._ports else ""
        return f"<Broker {self._state.value}{where}>"

    # --- where it is --------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port for AMQP; the same from the first start to `close`.

        :raises BrokerError: before the first start, or `reserve_port`.
        """
        return self._reserved(0).port

    @property
    def url(self) -> str:
        """The AMQP URL of the default virtual host, with user and password."""
        return self.url_of()

    def url_of(
        self, vhost: str | None = None, user: str | None = None, password: str | None = None
    ) -> str:
        """An AMQP URL. What is not given is what the broker starts with: `/`, guest, guest."""
        user = self.user if user is None else user
        password = self.password if password is None else password
        vhost = self.vhost if vhost is None else vhost
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{login}@{self.host}:{self.port}/{quote(vhost, safe='')}"

    @property
    def user(self) -> str:
        """The user that the broker starts with."""
        return str(self._settings.get("auth.default_user", "guest"))

    @property
    def password(self) -> str:
        """The password of that user."""
        return str(self._settings.get("auth.default_pass", "guest"))

    @property
    def vhost(self) -> str:
        """The virtual host that the broker starts with."""
        return str(self._settings.get("auth.default_vhost", "/"))

    @property
    def management_url(self) -> str:
        """The URL of the HTTP API and the management page.

        :raises BrokerError: if they are not served.
        """
        if not self._management:
            raise BrokerError("the HTTP API is not served: Broker(management=True)")
        return f"http://{self.host}:{self._reserved(1).port}"

    @property
    def is_running(self) -> bool:
        """Whether it runs, and is not paused."""
        return self._state is State.RUNNING

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._state is State.PAUSED

    # --- its life -----------------------------------------------------------------------------

    @one_at_a_time
    def reserve_port(self) -> None:
        """Reserve its port, which is known from here on, as if it had been started and stopped.

        :raises BrokerError: if it is taken.
        """
        if not self._ports:
            self._reserve()

    @one_at_a_time
    def start(self) -> None:
        """Start it; returns when clients can connect.

        :raises BrokerError: if it runs already, or does not start.
        """
        if self._state is not State.DOWN:
            raise BrokerError(f"the broker is {self._state.value}")
        with ExitStack() as undo:
            if not self._ports:
                undo.callback(self._give_back_ports)
                self.reserve_port()
            driver = self._new_driver()
            driver.start()
            undo.pop_all()
        self._driver, self._state = driver, State.RUNNING
        self.starts += 1

    @one_at_a_time
    def stop(self) -> None:
        """Stop it as at SIGTERM: clients get connection.close with 320 (CONNECTION_FORCED), and
        what is durable is kept in the directory. Its port stays reserved for the next start. Does
        nothing if it does not run."""
        self._stop(patient=True)

    def _stop(self, *, patient: bool) -> None:
        if self._state is State.PAUSED:
            self.resume()
        driver, self._driver, self._state = self._driver, None, State.DOWN
        if driver is not None:
            driver.stop(patient)

    @one_at_a_time
    def kill(self) -> None:
        """End it as at SIGKILL: sockets are closed without a word, and in the directory is what was
        written until then. Connecting is refused until `restart`.

        :raises BrokerError: if it does not run.
        """
        driver = self._running(also_paused=True)
        self._driver, self._state = None, State.DOWN
        driver.kill()

    @one_at_a_time
    def restart(self) -> None:
        """Stop it if it runs, and start it again at the same port. What is durable survives if it
        has a directory; else it begins empty."""
        self.stop()
        self.start()

    @one_at_a_time
    def pause(self) -> None:
        """Have it stand still, as a process at SIGSTOP: connections stay open, the kernel accepts
        new ones, and nothing is answered, no heartbeat either.

        :raises BrokerError: if it does not run.
        """
        self._running().pause()
        self._state = State.PAUSED

    @one_at_a_time
    def resume(self) -> None:
        """Have it go on after `pause`.

        :raises BrokerError: if it is not paused.
        """
        if self._driver is None or self._state is not State.PAUSED:
            raise BrokerError(f"the broker is {self._state.value}, and not paused")
        self._driver.resume()
        self._state = State.RUNNING

    @one_at_a_time
    def reset(self) -> None:
        """Make it a fresh broker at the same port: connections are closed, everything that was
        declared, published or created is gone, in the directory too, and time travel is undone. A
        broker that does not run is started."""
        self._advanced_ms = 0
        if self._state is State.DOWN:
            if self.directory is None:
                self.start()
                return
            self.start()
        elif self._state is State.PAUSED:
            self.resume()
        self._call(Commands.reset)

    @one_at_a_time
    def advance(self, seconds: float) -> None:
        """Have time pass at once, for all that goes by the broker's clock: times to live, expiry
        of queues, delays, retries, timeouts of consumers. Each thing is done at the time at which
        it is due, one after the other. Heartbeats and sockets go by the time of the machine, and
        clients do nothing in between.

        :param seconds: from 0 to 10^11, which is some thousand years.
        :raises BrokerError: if it is another number, or if things are due again and again for so
            long that the end is not reached.
        """
        try:
            self._call(Commands.advance, milliseconds(seconds))
        finally:
            if self._state is State.RUNNING:
                self._advanced_ms = self._call(Commands.advanced_ms)

    def close(self) -> None:
        """Stop it without waiting for its clients, and give its port back. The handle may be
        started again, at another port. A broker that runs in the process that forked this one is
        left alone."""
        if self._state is not State.DOWN and self._changes.are_elsewhere:
            self._inherited, self._driver, self._state = self._driver, None, State.DOWN
        self._close()

    @one_at_a_time
    def _close(self) -> None:
        try:
            self._stop(patient=False)
        finally:
            self._give_back_ports()

    def _may_change(self) -> None:
        """:raises BrokerError: if it runs in the process that forked this one."""
        if self._state is State.DOWN:
            self._changes.adopt()
        self._changes.check_process()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        from anyio.to_thread import run_sync

        await run_sync(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from anyio import CancelScope
        from anyio.to_thread import run_sync

        with CancelScope(shield=True):
            await run_sync(self.close)

    # --- what it has --------------------------------------------------------------------------

    def queue(self, name: str, vhost: str | None = None) -> Queue:
        """A queue to look at, whether it is declared yet or not.

        :param vhost: the name of its virtual host; None is the one that the broker starts with.
        """
        return Queue(self._call, name, self.vhost if vhost is None else vhost)

    def queues(self, vhost: str | None = None) -> list[QueueStatus]:
        """The queues by name, of one virtual host or of all."""
        return self._call(Commands.queues, vhost)

    def exchanges(self, vhost: str | None = None) -> list[str]:
        """The names of the exchanges, of a virtual host or of the one that the broker starts with,
        without the default exchange."""
        return self._call(Commands.exchanges, self.vhost if vhost is None else vhost)

    def connections(self) -> list[Connection]:
        """The open connections, the oldest first."""
        return self._call(Commands.connections)

    def consumers(self, vhost: str | None = None) -> list[Consumer]:
        """The consumers of all queues, of one virtual host or of all."""
        return self._call(Commands.consumers, vhost, None)

    def wait_for_consumers(self, count: int = 1, timeout: float = TIMEOUT_S) -> list[Consumer]:
        """Wait until there are so many consumers at least, and return them.

        :param timeout: seconds.
        :raises UnmetExpectation: if there are fewer then; the text says which.
        """
        return self._consumed(wait(lambda: self._has_consumers(count), timeout), count, timeout)

    async def wait_for_consumers_async(
        self, count: int = 1, timeout: float = TIMEOUT_S
    ) -> list[Consumer]:
        """As `wait_for_consumers`, in a coroutine."""
        found = await wait_async(lambda: self._has_consumers(count), timeout)
        return self._consumed(found, count, timeout)

    def _has_consumers(self, count: int) -> list[Consumer] | None:
        found = self.consumers()
        return None if len(found) < count else found

    def _consumed(self, found: list[Consumer] | None, count: int, timeout: float) -> list[Consumer]:
        if found is not None:
            return found
        there = self.consumers()
        of = f" ({', '.join(f'{each.tag!r} of queue {each.queue!r}' for each in there)})"
        raise UnmetExpectation(
            f"there {'was' if len(there) == 1 else 'were'}"
            f" {counted(len(there), 'consumer', 'consumers')}{of if there else ''} after"
            f" {timeout:g} s, {count} {'was' if count == 1 else 'were'} expected;"
            f" {counted(len(self.connections()), 'connection is', 'connections are')} open"
        )

    # --- what was published -------------------------------------------------------------------

    def record(self, messages_max: int = MESSAGES_MAX, bytes_max: int = BYTES_MAX) -> Publishes:
        """Record what is published from now on, and forget what was recorded before. As a `with`
        statement it ends after that; else at the next reset, or when the broker stops.

        :param messages_max: how many messages are kept; there is a warning when older ones were
            dropped.
        :param bytes_max: bytes of their bodies together.
        """
        return self._publishes.record(messages_max, bytes_max)

    def published(
        self, exchange: str | None = None, routing_key: str | None = None
    ) -> list[Published]:
        """The messages that went through exchanges since `record`, as `Publishes.published`."""
        return self._publishes.published(exchange, routing_key)

    def unroutable(self) -> list[Published]:
        """Those of them that no queue matched, as `Publishes.unroutable`."""
        return self._publishes.unroutable()

    def wait_for_published(
        self,
        count: int = 1,
        exchange: str | None = None,
        routing_key: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> list[Published]:
        """Wait for what is published, as `Publishes.wait_for_published`."""
        return self._publishes.wait_for_published(count, exchange, routing_key, timeout)

    async def wait_for_published_async(
        self,
        count: int = 1,
        exchange: str | None = None,
        routing_key: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> list[Published]:
        """As `wait_for_published`, in a coroutine."""
        return await self._publishes.wait_for_published_async(count, exchange, routing_key, timeout)

    # --- its log ------------------------------------------------------------------------------

    def log(self) -> list[str]:
        """The latest events of its log since its start, a line each, the oldest first. Brokers in
        threads of one process share their log, and the level of the one started last."""
        return self._call(Commands.log)

    def activity(self) -> Activity:
        """How much happened in it."""
        return self._call(Commands.activity)

    # --- asking it ----------------------------------------------------------------------------

    def _call(
        self,
        command: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Have a command carried out: a method of `Commands`, with positional arguments.

        :raises BrokerError: if the broker does not run, or the command is refused.
        """
        if kwargs:
            raise TypeError("commands have positional arguments")
        driver = self._running()
        try:
            return cast("R", driver.call(command.__name__, args))
        except BrokerError as error:
            # Where the broker has found that out tells a test nothing.
            raise error.with_traceback(None) from None

    def _running(self, *, also_paused: bool = False) -> Driver:
        if self._driver is None or (self._state is State.PAUSED and not also_paused):
            raise BrokerError(f"the broker is {self._state.value}")
        self._changes.check_process()
        return self._driver

    def _reserved(self, number: int) -> ReservedPort:
        if not self._ports:
            raise BrokerError("the broker has no port before its start")
        return self._ports[number]

    def _reserve(self) -> None:
        try:
            self._ports.append(ReservedPort(self.host, self._wanted_port))
            if self._management:
                self._ports.append(ReservedPort(self.host))
        except (OSError, OverflowError) as error:
            self._give_back_ports()
            reason = getattr(error, "strerror", None) or error
            raise BrokerError(
                f"the broker does not start: port {self._wanted_port}: {reason}"
            ) from None

    def _give_back_ports(self) -> None:
        for each in self._ports:
            each.close()
        self._ports = []

    def _new_driver(self) -> Driver:
        options = Options(
            host=self.host,
            port=self.port,
            directory=self.directory,
            management=self._reserved(1).port if self._management else None,
            skipped_ms=self._advanced_ms,
            log_level=self._log_level,
            settings=self._settings,
        )
        if self._process:
            from leveret.testing.process_driver import ProcessDriver

            return ProcessDriver(options)
        with without_collections():
            from leveret.testing.thread_driver import ThreadDriver
        return ThreadDriver(options)
