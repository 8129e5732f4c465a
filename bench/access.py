"""Access: what permissions and policies in force cost a message, and hostile clients the others.

A figure is the share of the rate without them, measured on the same broker in turns.
"""

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median

from pamqp import frame

from bench.contestants import (
    LEVERET,
    RABBITMQ,
    Contestant,
    Running,
    check_open_files,
    running,
    start_leveret,
)
from bench.load import run_load
from bench.row import Measure, Row, Sample, Tool
from leveret.commands.client import Client
from tests.support.wire import PROTOCOL_HEADER, make_start_ok, raw_frame

TURNS = 3
SILENT = 10_000
SLOW = 200
OVERSIZED = 50
GUESSES_PER_S = 100
SHARE_MIN = 0.97
"""Of the rate without permissions and policies."""
HOSTILE_SHARE_MIN = 0.9
"""Of the rate without the hostile clients."""

PATTERN = "^(amq\\.default|amqpload.*|.*)$"
"""A pattern that allows everything, and that is matched nevertheless."""

Hostile = Callable[[Running, threading.Event], None]


def _set_rights(client: Client, pattern: str) -> None:
    rights = {"configure": pattern, "write": pattern, "read": pattern}
    client.put("permissions", "/", "guest", body=rights)


def _share_with_rights(tool: Tool, contestant: Contestant) -> Sample:
    plain, restricted = [], []
    with start_leveret(contestant) as broker:
        client = Client(broker.data_dir)
        here = Running(contestant.kind, broker.host, broker.port, broker.pid)
        topic = {"exchange": "amq.topic", "write": "^{username}", "read": ".*"}
        policy = {"pattern": "", "definition": {"max-length": 1_000_000_000}, "apply-to": "queues"}
        for _ in range(TURNS):
            plain.append(run_load(tool.load_program, [], tool.timing, here).received_per_s)
            _set_rights(client, PATTERN)
            client.put("topic-permissions", "/", "guest", body=topic)
            client.put("policies", "/", "long", body=policy)
            restricted.append(run_load(tool.load_program, [], tool.timing, here).received_per_s)
            _set_rights(client, ".*")
            client.delete("topic-permissions", "/", "guest")
            client.delete("policies", "/", "long")
    return _share(plain, restricted)


def _share(before: list[float], beside: list[float]) -> Sample:
    remark = f"{median(beside):,.0f} of {median(before):,.0f} messages a second"
    return Sample(median(beside) / median(before), remarks=(remark,))


def _share_beside(hostile: Hostile) -> Measure:
    def measure(tool: Tool, contestant: Contestant) -> Sample:
        before, beside = [], []
        with running(contestant) as broker:
            for _ in range(TURNS):
                before.append(run_load(tool.load_program, [], tool.timing, broker).received_per_s)
                with _at_work(hostile, broker):
                    result = run_load(tool.load_program, [], tool.timing, broker)
                beside.append(result.received_per_s)
        return _share(before, beside)

    return measure


@contextmanager
def _at_work(hostile: Hostile, broker: Running) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=hostile, args=(broker, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _connect(broker: Running, greeting: bytes = b"") -> socket.socket:
    sock = socket.create_connection((broker.host, broker.port), 60.0)
    with suppress(ConnectionError):
        sock.sendall(greeting)
    return sock


def _keep(
    broker: Running, stopped: threading.Event, count: int, greeting: bytes, octet: bytes
) -> None:
    """Keep so many connections that never log in: who is cut comes again."""
    with selectors.DefaultSelector() as selector:
        octets = time.monotonic()
        try:
            while not stopped.is_set():
                if len(selector.get_map()) < count:
                    sock = _connect(broker, greeting)
                    selector.register(sock, selectors.EVENT_READ)
                full = len(selector.get_map()) >= count
                for key, _ in selector.select(0.1 if full else 0):
                    _drop_if_closed(selector, key.fileobj)
                if octet and time.monotonic() - octets >= 1.0:
                    octets = time.monotonic()
                    _send_all(selector, octet)
        finally:
            for key in list(selector.get_map().values()):
                _socket(key.fileobj).close()


def _socket(file: object) -> socket.socket:
    assert isinstance(file, socket.socket)
    return file


def _drop_if_closed(selector: selectors.BaseSelector, file: object) -> None:
    sock = _socket(file)
    try:
        ended = not sock.recv(65_536)
    except ConnectionError:
        ended = True
    if ended:
        selector.unregister(sock)
        sock.close()


def _send_all(selector: selectors.BaseSelector, octet: bytes) -> None:
    for key in list(selector.get_map().values()):
        with suppress(ConnectionError):
            _socket(key.fileobj).sendall(octet)


def silent(broker: Running, stopped: threading.Event) -> None:
    """Connections that say nothing."""
    check_open_files(SILENT)
    _keep(broker, stopped, SILENT, b"", b"")


def slow(broker: Running, stopped: threading.Event) -> None:
    """Handshakes of an octet a second."""
    _keep(broker, stopped, SLOW, PROTOCOL_HEADER, b"\x01")


def oversized(broker: Running, stopped: threading.Event) -> None:
    """Start-oks larger than what may come before login, again and again."""
    start_ok = PROTOCOL_HEADER + raw_frame(1, 0, b"\0\x0a\0\x0b" + b"\0" * 100_000)
    while not stopped.wait(1 / OVERSIZED):
        _connect(broker, start_ok).close()


def guesses(broker: Running, stopped: threading.Event) -> None:
    """Wrong passwords, without waiting for the answer."""
    login = frame.marshal(make_start_ok(response="\0guest\0wrong"), 0)
    sockets: list[socket.socket] = []
    while not stopped.wait(1 / GUESSES_PER_S):
        sockets.append(_connect(broker, PROTOCOL_HEADER + login))
    for sock in sockets:
        sock.close()


def _hostile_row(key: str, title: str, hostile: Hostile) -> Row:
    return Row(
        key,
        f"rate of others, as a share, beside {title}",
        "",
        _share_beside(hostile),
        None,
        HOSTILE_SHARE_MIN,
        1.0,
        contestants=(LEVERET, RABBITMQ),
    )


ACCESS_ROWS = (
    Row(
        "rights",
        "rate with permissions, topic permissions and a policy, as a share",
        "",
        _share_with_rights,
        None,
        SHARE_MIN,
        1.0,
        contestants=(LEVERET,),
    ),
    _hostile_row("silent", f"{SILENT:,} connections that say nothing", silent),
    _hostile_row("slow", f"{SLOW} handshakes of an octet a second", slow),
    _hostile_row("oversized", f"{OVERSIZED} oversized start-oks a second", oversized),
    _hostile_row("guesses", f"{GUESSES_PER_S} wrong passwords a second", guesses),
)
