"""A broker in a thread of the test's own process, with an event loop of its own."""

import asyncio
import os
import threading
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from typing import Any, Final

import uvloop

from leveret.config_loading import ConfigError
from leveret.datadir.open import StorageRefused
from leveret.testing.control import Control
from leveret.testing.driver import ANSWER_TIMEOUT_S
from leveret.testing.errors import BrokerError
from leveret.testing.options import Options

ENDED_MEANWHILE: Final = "the broker was stopped while it was asked"

JOIN_TIMEOUT_S: Final = 30.0
"""Seconds for the thread to end."""


class ThreadDriver:
    """Runs a broker in a thread."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._thread = threading.Thread(target=self._run, name="leveret", daemon=True)
        self._started: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._control: Control
        self._ended: asyncio.Event
        self._answers: set[Future[Any]] = set()
        """What callers wait for."""
        self._has_ended = False
        """Whether the event loop carries out nothing any more."""
        self._paused: threading.Event | None = None
        """What the event loop waits for while it is paused."""

    def start(self) -> None:
        with ExitStack() as undo:
            # A caller that is interrupted has no broker.
            undo.callback(self._started.add_done_callback, lambda _: self._end_at_next_turn())
            try:
                self._thread.start()
                self._started.result(ANSWER_TIMEOUT_S)
            except BrokerError:
                self._thread.join(JOIN_TIMEOUT_S)
                raise
            undo.pop_all()
        _RUNNING.add(self)

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        command = getattr(self._control, name)(*args)
        try:
            answer = asyncio.run_coroutine_threadsafe(command, self._loop)
        except RuntimeError:
            command.close()
            raise BrokerError(ENDED_MEANWHILE) from None
        self._answers.add(answer)
        if self._has_ended:
            answer.cancel()
        try:
            return answer.result(ANSWER_TIMEOUT_S)
        except TimeoutError:
            answer.cancel()
            raise BrokerError(f"the broker did not answer within {ANSWER_TIMEOUT_S:g} s") from None
        except CancelledError:
            raise BrokerError(ENDED_MEANWHILE) from None
        finally:
            self._answers.discard(answer)

    def pause(self) -> None:
        go_on = threading.Event()
        stands_still = threading.Event()

        def stand_still() -> None:
            stands_still.set()
            go_on.wait()

        self._paused = go_on
        self._loop.call_soon_threadsafe(stand_still)
        if not stands_still.wait(ANSWER_TIMEOUT_S):
            raise BrokerError(f"the broker did not pause within {ANSWER_TIMEOUT_S:g} s")

    def resume(self) -> None:
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    def stop(self, patient: bool) -> None:
        self._end("stop", patient)

    def kill(self) -> None:
        if self._paused is None:
            self._end("kill")
            return
        # Before it goes on with anything else.
        killed = asyncio.run_coroutine_threadsafe(self._control.kill(), self._loop)
        self.resume()
        killed.result(ANSWER_TIMEOUT_S)
        self._join()

    def close_after_fork(self) -> None:
        """Close the sockets in a child process: it would keep the port taken, and connections open
        that the broker has closed."""
        self._control.close_after_fork()

    def _end(self, command: str, *args: Any) -> None:
        try:
            self.call(command, args)
        finally:
            self._join()

    def _join(self) -> None:
        _RUNNING.discard(self)
        self._end_at_next_turn()
        self._thread.join(JOIN_TIMEOUT_S)

    def _end_at_next_turn(self) -> None:
        with suppress(RuntimeError):
            # The loop is closed if the thread has ended.
            self._loop.call_soon_threadsafe(self._ended.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())
        self._has_ended = True
        for answer in list(self._answers):
            answer.cancel()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        reason = "a fault, whose traceback is on stderr"
        try:
            self._control = Control(self._options)
            await self._control.start()
            self._started.set_result(None)
        except (ConfigError, OSError, StorageRefused) as error:
            reason = str(error)
            return
        finally:
            if not self._started.done():
                self._started.set_exception(BrokerError(f"the broker does not start: {reason}"))
        await self._ended.wait()
        # A caller that was interrupted may not have waited for its end.
        await self._control.kill()


_RUNNING: Final[set[ThreadDriver]] = set()
"""The drivers whose broker runs in this process."""


def _close_after_fork() -> None:
    for driver in _RUNNING:
        driver.close_after_fork()
    _RUNNING.clear()


os.register_at_fork(after_in_child=_close_after_fork)
