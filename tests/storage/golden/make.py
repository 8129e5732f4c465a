"""Makes the golden data directory: `python -m tests.storage.golden.make`, in a plain build.

A real broker with small limits runs three times on one directory, and is told what to keep by a
real client; at last it is killed. `expected.json` beside the directory says what has to be found,
as the client knows it: nothing of it was read from the directory.

It is made anew with a new version of the format only, in a directory of that version's name; those
of older versions stay as they are. The broker's clock is decades ahead, so that a message with a
time to live is still there whenever the data are read.
"""

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pika

from leveret.compiled import build_kind
from leveret_storage.format.file_header import FORMAT_VERSION
from tests.support.brokers import SOURCE_ROOTS, wait_until

HERE: Final = Path(__file__).parent
DATA: Final = HERE / f"version-{FORMAT_VERSION}"
EXPECTED: Final = HERE / f"version-{FORMAT_VERSION}.json"

DEEP_MESSAGES: Final = 60
"""Enough for chunks on disk at the limits below."""


CLOCK_AHEAD_MS: Final = 50 * 365 * 24 * 3600 * 1000
"""How far the broker's clock is ahead of the machine's."""


def now_ahead_ms() -> int:
    """The time of day of the broker."""
    return time.time_ns() // 1_000_000 + CLOCK_AHEAD_MS


def serve(directory: str) -> None:
    """Serve with limits so small that a few kilobytes make segments and runs of every kind."""
    from leveret.net import wall_clock

    # The modules that tell the engine the time import the function when they are imported.
    wall_clock.now_ms = now_ahead_ms
    from leveret.cli import main
    from leveret.engine.queues import backlog
    from leveret_storage.store import store

    for module, name, value in (
        (backlog, "CHUNK_MESSAGES", 4),
        (backlog, "CHUNKS_IN_MEMORY", 1),
        (store, "LOG_SEGMENT_BYTES", 3000),
        (store, "LOG_SEGMENTS_MAX", 2),
        (store, "QUEUE_SEGMENT_BYTES", 1200),
        (store, "ROOM_BYTES", 0),
    ):
        setattr(module, name, value)
    main(["serve", "--listen", "127.0.0.1:0", "--data-dir", directory])


class Run:
    """One life of the broker, and a client in it."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self._log = scratch / "broker.log"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*SOURCE_ROOTS, str(HERE.parents[2])]),
            "LEVERET_SERVER_NODE_NAME": "golden",
        }
        with self._log.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.storage.golden.make", str(directory)],
                stderr=sink,
                env=environment,
                cwd=HERE.parents[2],
            )
        wait_until(self._ready, 20, "a broker that is ready")
        ready = self._log.read_text().split("amqp=127.0.0.1:")[1]
        parameters = pika.ConnectionParameters("127.0.0.1", int(ready.split()[0]))
        self._connection = pika.BlockingConnection(parameters)
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise SystemExit(self._log.read_text())
        return "leveret ready" in self._log.read_text()

    def settle(self, queue: str, wanted: list[int]) -> None:
        """Acknowledge the ready messages at these places of a queue, and give the others back."""
        channel = self._connection.channel()
        got = [channel.basic_get(queue)[0] for _ in range(max(wanted) + 1)]
        for place in wanted:
            channel.basic_ack(got[place].delivery_tag)
        channel.close()

    def stop(self, number: signal.Signals) -> None:
        """End the broker. What was acknowledged is on disk with the confirm of a later message."""
        if number == signal.SIGTERM:
            self._connection.close()
        self._process.send_signal(number)
        self._process.wait(30)


class Model:
    """What the client expects to be kept."""

    def __init__(self) -> None:
        self.queues: dict[str, list[dict[str, Any] | None]] = {}
        """The messages at every position; None for one that is not kept."""

    def publish(
        self,
        run: Run,
        queues: list[str],
        exchange: str,
        routing_key: str,
        body: bytes,
        **properties: Any,
    ) -> None:
        """Publish with a confirm; only what is persistent is kept."""
        run.channel.basic_publish(
            exchange, routing_key, body, pika.BasicProperties(**properties), mandatory=True
        )
        shown = dict(properties)
        if "timestamp" in shown:
            at = datetime.datetime.fromtimestamp(shown["timestamp"], datetime.UTC)
            shown["timestamp"] = at.isoformat()
        if "type" in shown:
            shown["message_type"] = shown.pop("type")
        if "headers" in shown:
            shown["headers"] = SHOWN_HEADERS
        message = {
            "exchange": exchange,
            "routing_key": routing_key,
            "properties": shown,
            "size": len(body),
            "body_hex": body.hex(),
        }
        for queue in queues:
            kept = message if properties.get("delivery_mode") == 2 else None
            self.queues.setdefault(queue, []).append(kept)

    def settle(self, run: Run, queue: str, places: list[int]) -> None:
        """Acknowledge messages by their places among those that are ready."""
        run.settle(queue, places)
        ready = [at for at, kept in enumerate(self.queues[queue]) if kept is not None]
        for place in places:
            self.queues[queue][ready[place]] = None

    def expected(self) -> dict[str, Any]:
        """As the test reads it."""
        return {
            "definitions": DEFINITIONS,
            "messages": {
                queue: [
                    {"position": position, **message}
                    for position, message in enumerate(messages)
                    if message is not None
                ]
                for queue, messages in self.queues.items()
            },
        }


HEADERS: Final = {
    "text": "grün",
    "number": -7,
    "large": 2**40,
    "decimal": Decimal("12.25"),
    "true": True,
    "none": None,
    "list": ["a", 1, {"deep": "er"}],
    "bytes": b"\x00\xff",
}
SHOWN_HEADERS: Final = {**HEADERS, "decimal": "12.25", "bytes": {"base64": "AP8="}}

DEFINITIONS: Final = [
    ["exchange", "orders", "topic", False, False, {}],
    ["exchange", "news", "fanout", False, False, {}],
    ["exchange", "by-header", "headers", False, True, {"alternate-exchange": "news"}],
    ["queue", "deep", False, {}],
    ["queue", "copy-a", False, {"x-max-length": 1000}],
    ["queue", "copy-b", False, {}],
    ["queue", "empty", True, {}],
    ["queue", "späte", False, {}],
    ["binding", "orders", "queue", "deep", "order.*.new", {}],
    ["binding", "news", "queue", "copy-a", "", {}],
    ["binding", "news", "queue", "copy-b", "", {"x": "y"}],
    ["binding", "news", "exchange", "by-header", "", {}],
    ["binding", "by-header", "queue", "empty", "", {"x-match": "all", "kind": 1}],
]
"""What is declared when all is done: vhost left out, then as the client said it."""


def declare(run: Run) -> None:
    """Everything of DEFINITIONS but the queue that comes later; and some that go again."""
    channel = run.channel
    for name, type_name, internal, arguments in (
        ("orders", "topic", False, {}),
        ("news", "fanout", False, {}),
        ("by-header", "headers", True, {"alternate-exchange": "news"}),
        ("gone", "direct", False, {}),
    ):
        channel.exchange_declare(
            name, type_name, durable=True, internal=internal, arguments=arguments
        )
    for name, auto_delete, queue_arguments in (
        ("deep", False, {}),
        ("copy-a", False, {"x-max-length": 1000}),
        ("copy-b", False, {}),
        ("empty", True, {}),
        ("gone", False, {}),
    ):
        channel.queue_declare(
            name, durable=True, auto_delete=auto_delete, arguments=queue_arguments
        )
    channel.queue_declare("fleeting", exclusive=True)
    channel.queue_bind("deep", "orders", "order.*.new")
    channel.queue_bind("deep", "orders", "order.*.old")
    channel.queue_bind("copy-a", "news", "")
    channel.queue_bind("copy-b", "news", "", {"x": "y"})
    channel.exchange_bind("by-header", "news", "")
    channel.queue_bind("empty", "by-header", "", {"x-match": "all", "kind": 1})
    channel.queue_bind("gone", "gone", "gone")
    channel.queue_bind("fleeting", "orders", "#.fleeting")
    channel.queue_unbind("deep", "orders", "order.*.old")


def first_life(run: Run, model: Model) -> None:
    """Declarations, a deep queue settled in its first part, and copies of one message."""
    declare(run)
    run.channel.basic_publish("gone", "gone", b"gone", pika.BasicProperties(delivery_mode=2))
    for number in range(DEEP_MESSAGES):
        model.publish(
            run,
            ["deep"],
            "orders",
            f"order.{number}.new",
            f"order {number}".encode(),
            delivery_mode=1 if number % 7 == 3 else 2,
        )
    run.settle("deep", list(range(14)))
    model.queues["deep"][:14] = [None] * 14
    run.channel.queue_delete("gone")
    run.channel.exchange_delete("gone")
    for text in (b"one for all", b"", b"\x00\xff binary \xfe"):
        model.publish(run, ["copy-a", "copy-b"], "news", "", text, delivery_mode=2)


def second_life(run: Run, model: Model) -> None:
    """After a stop and a start: settled out of order, every property, one more queue."""
    model.settle(run, "deep", [2, 3, 9])
    model.settle(run, "copy-a", [1])
    run.channel.queue_declare("späte", durable=True)
    model.publish(
        run,
        ["späte"],
        "",
        "späte",
        b'{"all": "properties"}',
        content_type="application/json",
        content_encoding="utf-8",
        headers=HEADERS,
        delivery_mode=2,
        priority=4,
        correlation_id="c-1",
        reply_to="nobody",
        expiration="86400000",
        message_id="m-1",
        timestamp=1_700_000_000,
        type="kind",
        user_id="guest",
        app_id="golden",
    )


def third_life(run: Run, model: Model) -> None:
    """A little more behind what two starts have found; then the broker is killed."""
    for number in range(DEEP_MESSAGES, DEEP_MESSAGES + 6):
        model.publish(run, ["deep"], "orders", f"order.{number}.new", b"late", delivery_mode=2)
    model.settle(run, "deep", [0])
    model.publish(run, ["copy-b"], "", "copy-b", b"the last", delivery_mode=2)


def make() -> None:
    """Make the directory and what is expected of it."""
    if build_kind() != "plain Python":
        raise SystemExit(
            "the limits of a compiled build cannot be changed: make it with a plain one"
        )
    model = Model()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, "data")
        for life, end in (
            (first_life, signal.SIGTERM),
            (second_life, signal.SIGTERM),
            (third_life, signal.SIGKILL),
        ):
            run = Run(directory, Path(scratch))
            life(run, model)
            run.stop(end)
        shutil.rmtree(DATA, ignore_errors=True)
        shutil.copytree(directory, DATA, ignore=shutil.ignore_patterns("lock", "head.new"))
    text = json.dumps(model.expected(), indent=1, ensure_ascii=False)
    EXPECTED.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        make()
