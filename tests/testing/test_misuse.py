"""The broker of a test under misuse: interrupted calls, many threads, forks, handles that nobody
closed, and arguments that are none."""

import gc
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Any

import pytest

from leveret.testing import Broker, BrokerError
from tests.support.brokers import wait_until


@pytest.fixture(params=[False, True], ids=["thread", "process"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with Broker(process=request.param) as broker:
        yield broker


class InterruptedByTestError(BaseException):
    """What a signal raises in the middle of a call, as KeyboardInterrupt is."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise InterruptedByTestError


@contextmanager
def interrupted() -> Iterator[None]:
    """Interrupt the body, which waits for something that does not come."""
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(InterruptedByTestError):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _file_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("call", ["queues", "reset"])
def test_after_an_interrupted_call_the_next_one_gets_its_own_answer(
    broker: Broker, call: str
) -> None:
    driver = broker._driver
    assert driver is not None
    driver.pause()
    with interrupted():
        getattr(broker, call)()
    driver.resume()
    assert "amq.direct" in broker.exchanges()
    broker.reset()
    assert broker.queues() == []


def test_resets_and_restarts_leave_no_file_open() -> None:
    with Broker() as broker:
        broker.reset()
        broker.restart()
        gc.collect()
        before = _file_descriptors()
        for _ in range(20):
            broker.reset()
            broker.restart()
        gc.collect()
        wait_until(lambda: _file_descriptors() <= before)


def test_many_threads_may_use_a_handle(broker: Broker) -> None:
    wrong: list[BaseException] = []
    calls: list[Callable[[], object]] = [
        broker.queues,
        broker.reset,
        broker.restart,
        broker.kill,
        broker.stop,
        broker.start,
        lambda: broker.advance(3600),
        broker.record,
        broker.log,
        lambda: broker.faults.nack(3),
    ]

    def use(call: Callable[[], object]) -> None:
        for _ in range(5):
            try:
                call()
            except BrokerError:
                continue
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=use, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    broker.reset()
    assert broker.queues() == []
    broker.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("leveret")]


def test_a_forked_process_leaves_the_broker_alone(broker: Broker) -> None:
    child = os.fork()
    if child == 0:
        wrong = 0
        for call in (broker.queues, broker.reset, broker.stop, broker.kill, broker.restart):
            try:
                call()
                wrong = 1
            except BrokerError as error:
                wrong |= "in the process that forked this one" not in str(error)
        broker.close()
        broker.close()
        os._exit(wrong)
    assert os.waitpid(child, 0)[1] == 0
    assert broker.is_running
    assert broker.queues() == []


def test_a_forked_process_may_start_the_broker_anew(broker: Broker) -> None:
    child = os.fork()
    if child == 0:
        broker.close()
        broker.start()
        found = broker.queues()
        broker.close()
        os._exit(len(found))
    assert os.waitpid(child, 0)[1] == 0
    assert broker.queues() == []


class Queues(StrEnum):
    """Names of queues, in a module that the process of a broker cannot import."""

    ORDERS = "orders"


def test_an_argument_that_the_process_cannot_have_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queues, "__module__", "test_of_an_application")
    monkeypatch.setitem(sys.modules, "test_of_an_application", sys.modules[__name__])
    with Broker(process=True) as broker:
        with pytest.raises(BrokerError, match=r"cannot have an argument.*test_of_an_application"):
            broker.queue(Queues.ORDERS).messages()
        assert broker.queues() == []


def test_a_wrong_kind_of_key_is_named(broker: Broker) -> None:
    other = Broker(process=broker._process, settings={3: 4})  # type: ignore[dict-item]
    with pytest.raises(BrokerError, match="does not start: settings: 3 is no key"):
        other.start()


def test_a_process_ends_whose_handle_is_forgotten() -> None:
    broker = Broker(process=True)
    broker.start()
    descriptors = _file_descriptors()
    # Another one that would be warned of.
    broker._give_back_ports()
    handles = [broker]
    del broker

    def forget() -> None:
        handles.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="was not closed"):
        forget()
    wait_until(lambda: _file_descriptors() < descriptors)


def test_a_process_that_is_paused_ends_with_the_test_process() -> None:
    program = """
from leveret.testing import Broker
broker = Broker(process=True)
broker.start()
broker.pause()
print(broker._driver._process.pid)
"""
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    pid = int(ran.stdout)

    def has_ended() -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(") ")[2].startswith("Z")
        except FileNotFoundError:
            return True

    wait_until(has_ended)


@pytest.mark.parametrize("process", [False, True])
def test_standard_input_and_output_may_be_closed(process: bool) -> None:
    program = f"""
import os
for descriptor in (0, 1, 2):
    os.close(descriptor)
from leveret.testing import Broker
with Broker(process={process}) as broker:
    broker.reset()
    broker.kill()
    broker.start()
    os._exit(len(broker.queues()))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e300, 10**12, "5", None])
def test_time_is_advanced_by_a_number_of_seconds(seconds: float) -> None:
    with Broker() as broker, pytest.raises(BrokerError, match="time is advanced by"):
        broker.advance(seconds)


def test_faults_are_ordered_in_whole_numbers() -> None:
    with Broker() as broker:
        orders: tuple[Callable[[Any], object], ...] = (
            broker.faults.refuse_connections,
            broker.faults.nack,
            broker.faults.drop_connections,
            broker.faults.drop_next_connection,
        )
        for order in orders:
            with pytest.raises(BrokerError, match="not a whole number"):
                order(1.5)
        broker.faults.assert_happened()


def test_a_port_that_is_none_is_named() -> None:
    with pytest.raises(BrokerError, match="port 70000"):
        Broker(port=70000).start()
