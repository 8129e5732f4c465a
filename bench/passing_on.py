"""Clients of the broker that serves them, and of one that passes them on to it.

    python -m bench.passing_on [SECONDS]

Two brokers in processes of their own, which keep everything in memory; the load program is the
client of one, then of the other, in turns. With `TLS` behind the seconds the brokers have TLS
between them. Everything is on one machine: a broker that passes on needs a core that a direct
client leaves to others.
"""

import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import trustme
import uvloop

from bench.contestants import LEVERET, Running
from bench.load import LoadResult, Timing, compile_load, run_load
from leveret.compiled import build_kind
from leveret.config import Amqp, Config, Server
from leveret.config_storage import Cluster
from leveret.engine.broker import Broker
from leveret.engine.placement import Placement, ServedBy
from leveret.net.server import AmqpServer

HOST: Final = "127.0.0.1"
SECONDS: Final = 3.0
ROUNDS: Final = 3
OWNER: Final = "owner"
OTHER: Final = "other"
SOCKETS_MAX: Final = 1000

ROWS: Final = (
    ("16 B, auto-ack", ()),
    ("16 B, confirmed, window 1,000", ("--confirm", "1000", "--ack", "100", "--prefetch", "1000")),
    ("16 B, confirmed one at a time", ("--confirm", "1", "--ack", "1", "--prefetch", "1000")),
    ("1 KiB, auto-ack", ("--size", "1024")),
    ("64 KiB, auto-ack", ("--size", "65536")),
    ("256 KiB, auto-ack", ("--size", "262144")),
)


class OwnerAt(Placement):
    """All virtual hosts are served by one broker."""

    def __init__(self, served_by: ServedBy) -> None:
        self._served_by = served_by

    def store_of(self, vhost: str) -> int:
        return 0

    def served_by(self, vhost: str) -> ServedBy | None:
        return self._served_by


def serve(name: str, pipe: Connection, cluster: Mapping[str, Any]) -> None:
    """Serve in this process until the pipe is closed."""

    async def run() -> None:
        config = Config(
            server=Server(node_name=name),
            amqp=Amqp(listen=(f"{HOST}:0",)),
            cluster=Cluster(listen=(f"{HOST}:0",), **cluster),
        )
        broker = Broker(config)
        server = AmqpServer(broker, config, None, SOCKETS_MAX)
        bound = dict(each.split("=") for each in await server.start())
        pipe.send((int(bound["amqp"].rpartition(":")[2]), bound["cluster"]))
        address = await asyncio.to_thread(pipe.recv)
        broker.placement = OwnerAt(ServedBy(OWNER, address, name == OWNER))
        if name != OWNER:
            broker.drop_vhost("/")
        pipe.send("ready")
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(pipe.recv)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@contextlib.contextmanager
def brokers(cluster: Mapping[str, Any]) -> Iterator[dict[str, Running]]:
    """Run the two brokers."""
    context = multiprocessing.get_context("spawn")
    pipes, found, processes = [], {}, []
    address = ""
    for name in (OWNER, OTHER):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(name, theirs, cluster), daemon=True)
        process.start()
        theirs.close()
        port, at = ours.recv()
        address = address or at
        ours.send(address)
        ours.recv()
        pipes.append(ours)
        processes.append(process)
        found[name] = Running(LEVERET.kind, HOST, port, process.pid or 0)
    try:
        yield found
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def cluster_keys(directory: Path, *, tls: bool) -> dict[str, Any]:
    """Keys of the section `cluster`."""
    if not tls:
        return {"secret": "the secret of the measurement"}
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    issued = authority.issue_cert("broker.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(directory / "broker.pem"))
    return {"certfile": str(directory / "broker.pem"), "cacertfile": str(directory / "ca.pem")}


def shown(results: list[LoadResult]) -> str:
    rate = statistics.median(each.received_per_s for each in results)
    p50 = statistics.median(each.p50_us for each in results)
    remarks = {each for result in results for each in result.remarks() if "LOST" in each}
    return f"{rate:12,.0f}/s {p50 / 1000:8.2f} ms {' '.join(remarks)}"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    tls = sys.argv[2:] == ["TLS"]
    timing = Timing(0.5, seconds, 20.0)
    with tempfile.TemporaryDirectory(prefix="bench-passing-on-") as name:
        program = compile_load(Path(name))
        sys.stdout.write(f"build: {build_kind()}; {'TLS' if tls else 'no TLS'} between brokers\n")
        with brokers(cluster_keys(Path(name), tls=tls)) as found:
            for row, arguments in ROWS:
                results: dict[str, list[LoadResult]] = {OWNER: [], OTHER: []}
                for _ in range(ROUNDS):
                    for node, broker in found.items():
                        results[node].append(run_load(program, arguments, timing, broker))
                direct, passed_on = shown(results[OWNER]), shown(results[OTHER])
                sys.stdout.write(f"{row:32} direct {direct}  passed on {passed_on}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
