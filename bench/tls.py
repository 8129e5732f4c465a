"""TLS: the rate of messages over it, and what the handshakes of others cost a client.

Both brokers have the same certificate, which is made for the measurement, and no other setting; the
load program checks no certificate. The rate contains the load program's own share of TLS: with one
publisher and one consumer each of its threads has a core, where there are enough.
"""

import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import trustme

from bench.contestants import LEVERET, RABBITMQ, Contestant, NotMeasured, Running
from bench.fairness.probe import probing
from bench.load import compile_load, run_load
from bench.row import Measure, Row, Sample, Tool
from tests.support.brokers import HOST, Broker, Leveret, RabbitMQ, free_port

HANDSHAKES_PER_S = 200
HANDSHAKES_S = 5.0
CONNECTORS = 8
"""Threads that connect: each waits for its broker most of the time."""
P99_MS_MAX = 15.0
TIMEOUT_S = 60.0
LOAD_NAME = "amqpload-tls"


@contextmanager
def _secure(contestant: Contestant) -> Iterator[tuple[Running, int]]:
    """Run a contestant with a TLS listener beside the plain one; the port of the former."""
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as directory:
        certfile, keyfile = Path(directory, "server.pem"), Path(directory, "server.key")
        issued = trustme.CA().issue_cert("localhost")
        certfile.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(keyfile))
        port = free_port()
        with _start(contestant, port, certfile, keyfile) as broker:
            yield Running(contestant.kind, broker.host, broker.port, broker.pid), port


def _start(contestant: Contestant, port: int, certfile: Path, keyfile: Path) -> Broker:
    if contestant == RABBITMQ:
        return RabbitMQ(
            f"listeners.ssl.1 = {HOST}:{port}",
            f"ssl_options.certfile = {certfile}",
            f"ssl_options.keyfile = {keyfile}",
        )
    if contestant.kind != LEVERET.kind:
        raise NotMeasured("is not configured for TLS here")
    variables = {
        "LEVERET_TLS_LISTEN": f"{HOST}:{port}",
        "LEVERET_TLS_CERTFILE": str(certfile),
        "LEVERET_TLS_KEYFILE": str(keyfile),
    }
    return Leveret(env=variables, executable=contestant.executable)


def _throughput(size: int) -> Measure:
    def measure(tool: Tool, contestant: Contestant) -> Sample:
        program = tool.load_program.with_name(LOAD_NAME)
        if not program.exists():
            compile_load(tool.load_program.parent, tls=True)
        with _secure(contestant) as (broker, port):
            arguments = ["--size", str(size), "--tls", "1"]
            result = run_load(program, arguments, tool.timing, replace(broker, port=port))
        return Sample(result.received_per_s, vars(result), tuple(result.remarks()))

    return measure


class _Connectors:
    """Clients that connect at fixed times, say the protocol header, and leave."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._lock = threading.Lock()
        self._begun = time.perf_counter()
        self._count = 0
        self.done = 0

    def run(self) -> None:
        """Connect HANDSHAKES_PER_S times a second, for HANDSHAKES_S."""
        threads = [threading.Thread(target=self._connect_in_turn) for _ in range(CONNECTORS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _connect_in_turn(self) -> None:
        while True:
            with self._lock:
                at = self._begun + self._count / HANDSHAKES_PER_S
                self._count += 1
            if at > self._begun + HANDSHAKES_S:
                return
            time.sleep(max(0.0, at - time.perf_counter()))
            self._connect()
            with self._lock:
                self.done += 1

    def _connect(self) -> None:
        with (
            socket.create_connection((HOST, self._port), TIMEOUT_S) as plain,
            self._context.wrap_socket(plain) as secured,
        ):
            secured.sendall(b"AMQP\0\0\x09\x01")
            secured.recv(4096)


def _handshakes(_tool: Tool, contestant: Contestant) -> Sample:
    with _secure(contestant) as (broker, port), probing(broker) as probe:
        connectors = _Connectors(port)
        probe.begin()
        connectors.run()
        seen = probe.end()
    rate = f"{connectors.done / HANDSHAKES_S:.0f} connections/s"
    remark = f"p50 {seen.percentile(0.5):.1f}, max {seen.values[-1]:.0f} ms, {rate}"
    return Sample(seen.percentile(0.99), remarks=(remark,))


TLS_ROWS = (
    Row("tls-1k", "1 KiB bodies over TLS, auto-ack", "msg/s", _throughput(1024), RABBITMQ, 1, 2),
    Row(
        "tls-64k",
        "64 KiB bodies over TLS, auto-ack",
        "msg/s",
        _throughput(65_536),
        RABBITMQ,
        1,
        2,
    ),
    Row(
        "tls-handshakes",
        f"p99 of others' confirms: {HANDSHAKES_PER_S} TLS connections a second",
        "ms",
        _handshakes,
        None,
        P99_MS_MAX,
        P99_MS_MAX,
        lower_is_better=True,
    ),
)
