"""Makes the golden data directory: `python -m tests.storage.golden.make`, in a plain build.

A real broker with small limits runs three times on one directory, with a real client; the third
time it is killed. The JSON file beside the directory says what has to be found, as the client knows
it: nothing of it was read from the directory.

It is made anew with a new version of the format only, in a directory of that version's name; those
of older versions stay as they are. The broker's clock is decades ahead, so that messages with a
time to live, delayed messages and keys that expire are still there whenever the data are read.
"""

import base64
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
from leveret_storage.segments.body_segment import SHARED_BODY_BYTES
from tests.support.brokers import SOURCE_ROOTS, wait_until

HERE: Final = Path(__file__).parent
DATA: Final = HERE / f"version-{FORMAT_VERSION}"
EXPECTED: Final = HERE / f"version-{FORMAT_VERSION}.json"

DEEP_MESSAGES: Final = 60
"""Enough for chunks on disk at the limits below."""


UNSORTED_SEGMENTS: Final = "queue-0000000002-*"
"""Segments of delayed messages that are not sorted. They depend on when log segments are emptied,
so some attempts make none."""


CLOCK_AHEAD_MS: Final = 50 * 365 * 24 * 3600 * 1000
"""How far the broker's clock is ahead of the machine's."""


CLOCK_SET_MS: Final = 3600 * 1000
"""By how much the wall clock is set forward in each life of the broker."""


def now_ahead_ms() -> int:
    """The time of day of the broker."""
    return time.time_ns() // 1_000_000 + CLOCK_AHEAD_MS


def serve(directory: str) -> None:
    """Serve with limits so small that a few kilobytes make segments and runs of every kind."""
    from leveret.net import wall_clock

    # The modules that tell the engine the time import the function when they are imported.
    wall_clock.now_ms = now_ahead_ms
    wall_clock.wall_clock_ms = lambda: now_ahead_ms() + CLOCK_SET_MS
    from leveret.cli import main
    from leveret.engine.queues import message_memory, queue_host
    from leveret_storage.store import store
    from leveret_storage.store.limits import StoreLimits

    limits = queue_host.DelayedStoreLimits(memtable_messages=3, memtables_max=2, block_messages=2)
    for module, name, value in (
        # Four messages, by their overhead alone.
        (message_memory, "CHUNK_COST_MAX", 2048),
        (message_memory, "CHUNKS_IN_MEMORY", 1),
        (queue_host, "DelayedStoreLimits", lambda: limits),
        (store, "DEFAULT_LIMITS", StoreLimits(3000, 1200, 2, 0)),
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
            "LEVERET_QUEUES_REDECLARE": "adopt",
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

    def wait_for(self, event: str) -> None:
        """Wait until the broker has logged an event."""
        wait_until(lambda: event in self._log.read_text(), 20, event)

    def settle(self, queue: str, wanted: list[int]) -> None:
        """Acknowledge the ready messages at these places of a queue, and give the others back."""
        channel = self._connection.channel()
        got = [channel.basic_get(queue)[0] for _ in range(max(wanted) + 1)]
        for place in wanted:
            channel.basic_ack(got[place].delivery_tag)
        channel.close()

    def give_back(self, queue: str, count: int, *, rejected: bool) -> None:
        """Get messages and give them back to their queue, by basic.reject or basic.nack."""
        channel = self._connection.channel()
        tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(count)]
        for tag in tags:
            if rejected:
                channel.basic_reject(tag, requeue=True)
            else:
                channel.basic_nack(tag, requeue=True)
        channel.close()

    def stop(self, number: signal.Signals) -> None:
        """End the broker. What was acknowledged is on disk with the confirm of a later message."""
        if number == signal.SIGTERM:
            self._connection.close()
        self._process.send_signal(number)
        self._process.wait(30)


class RawText(str):
    """Text that pika sends as octets that are not UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("latin-1", errors)


RAW: Final = RawText("gr\xfcn")
SHOWN_RAW: Final = "gr\\xfcn"
"""How a dump writes it as a routing key."""


class Model:
    """What the client expects to be stored."""

    def __init__(self) -> None:
        self.queues: dict[str, dict[int, dict[str, Any] | None]] = {}
        """The messages by position, in order; None for one that is not stored."""
        self.delayed: dict[str, list[dict[str, Any]]] = {}
        """By exchange, the messages that wait."""

    def publish(
        self,
        run: Run,
        queues: list[str],
        exchange: str,
        routing_key: str,
        body: bytes,
        **properties: Any,
    ) -> None:
        """Publish with a confirm; only a persistent one is stored."""
        message = self._published(run, exchange, routing_key, body, properties)
        for queue in queues:
            messages = self.queues.setdefault(queue, {})
            first = 0
            if queue == RANKED:
                first = (HIGHEST_PRIORITY - min(properties["priority"], HIGHEST_PRIORITY)) << 48
            position = first + sum(first <= each < first + (1 << 48) for each in messages)
            messages[position] = message if properties.get("delivery_mode") == 2 else None
            self.queues[queue] = dict(sorted(messages.items()))

    def publish_delayed(
        self, run: Run, exchange: str, routing_key: str, body: bytes, delay_ms: int
    ) -> None:
        """Publish a persistent message that waits in a delayed exchange."""
        properties = {"delivery_mode": 2, "headers": {"x-delay": delay_ms}}
        message = self._published(run, exchange, routing_key, body, properties)
        self.delayed.setdefault(exchange, []).append(message)

    def _published(
        self, run: Run, exchange: str, routing_key: str, body: bytes, properties: dict[str, Any]
    ) -> dict[str, Any]:
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
            shown["headers"] = shown_table(shown["headers"])
        return {
            "exchange": exchange,
            "routing_key": SHOWN_RAW if routing_key is RAW else routing_key,
            "properties": shown,
            "size": len(body),
            "body_hex": body.hex(),
        }

    def settle(self, run: Run, queue: str, places: list[int]) -> None:
        """Acknowledge messages by their places among those that are ready."""
        run.settle(queue, places)
        messages = self.queues[queue]
        ready = [position for position, stored in messages.items() if stored is not None]
        for place in places:
            messages[ready[place]] = None

    def expected(self) -> dict[str, Any]:
        """As the test reads it."""
        return {
            "definitions": DEFINITIONS,
            "messages": {
                queue: [
                    {"position": position, **message}
                    for position, message in messages.items()
                    if message is not None
                ]
                for queue, messages in self.queues.items()
            },
            "delayed": self.delayed,
            "retry_delayed": [RETRIED],
            "delivery_counts": DELIVERY_COUNTS,
            "keys_seen": KEYS_SEEN,
            "clock_behind": len(LIVES) * CLOCK_SET_MS,
        }


def shown_value(value: Any) -> Any:
    """A value as a dump shows it."""
    if isinstance(value, RawText):
        value = value.encode()
    if isinstance(value, dict):
        return shown_table(value)
    if isinstance(value, list):
        return [shown_value(item) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def shown_table(table: dict[str, Any]) -> dict[str, Any]:
    """A table as a dump shows it."""
    return {name: shown_value(value) for name, value in table.items()}


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
RANKED: Final = "ranked"
HIGHEST_PRIORITY: Final = 5
PRIORITIES: Final = (0, 5, 2, 5, 0, 9, 3, 2, 0, 5, 1, 0)
RETRIED: Final = "retried"
DAY_MS: Final = 24 * 3600 * 1000
DELAYS_DAYS: Final = (30, 10, 20, 11, 31, 12, 22, 13, 5, 33, 6, 24, 7, 8)
"""Of messages that wait in the delayed exchange: their order is not that of their times."""

TYPED: Final = {
    **HEADERS,
    "zero": 0,
    "false": False,
    "time": datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.UTC),
    "not UTF-8": RAW,
    "nested": {"list": [Decimal("-0.5"), b"\x01", [None, {}]], "time": None},
}
"""Arguments of every type that pika can send."""

ADOPTED: Final = {"x-max-length": 7, "x-message-ttl": 20 * 365 * DAY_MS // 4}
LATER: Final = {"x-delayed-type": "topic"}
RETRYING: Final = {"x-delayed-retry-type": "all", "x-delayed-retry-min": DAY_MS}
UNIQUE: Final = {"x-cache-size": 50}
ONCE: Final = {"x-message-deduplication": True}
KEYS: Final[tuple[Any, ...]] = ("text", 7, -(2**40), b"\x00\xff", RAW, True)
KEYS_SEEN: Final = {
    "exchange unique": [
        "530000000474657874",
        "4937",
        "492d31303939353131363237373736",
        "780000000200ff",
        "53000000046772fc6e",
        "7401",
    ],
    "queue once": ["530000000474657874", "4937"],
}
"""FORMAT.md: a letter and the value as in a table; of integers `I` and their digits."""

DELIVERY_COUNTS: Final = {"poison": {"0": [3, 2], "1": [1, 0]}, RETRIED: {"0": [1, 1]}}
"""By queue and position: how often a message came back, and how often it had failed then."""

DEFINITIONS: Final = [
    ["exchange", "orders", "topic", False, False, {}],
    ["exchange", "news", "fanout", False, False, {}],
    ["exchange", "by-header", "headers", False, True, {"alternate-exchange": "news"}],
    ["exchange", "later", "x-delayed-message", False, False, LATER],
    ["exchange", "unique", "x-message-deduplication", True, False, UNIQUE],
    ["queue", "deep", False, {}],
    ["queue", "copy-a", False, {"x-max-length": 1000}],
    ["queue", "copy-b", False, {}],
    ["queue", "empty", True, {}],
    ["queue", "späte", False, {}],
    ["queue", RANKED, False, {"x-max-priority": HIGHEST_PRIORITY}],
    ["queue", "typed", False, shown_table(TYPED)],
    ["queue", "adopting", False, ADOPTED],
    ["queue", "once", False, ONCE],
    ["queue", "poison", False, {"x-delivery-limit": 20}],
    ["queue", RETRIED, False, RETRYING],
    ["binding", "orders", "queue", "deep", "order.*.new", {}],
    ["binding", "news", "queue", "copy-a", "", {}],
    ["binding", "news", "queue", "copy-b", "", {"x": "y"}],
    ["binding", "news", "exchange", "by-header", "", {}],
    ["binding", "by-header", "queue", "empty", "", {"x-match": "all", "kind": 1}],
    ["binding", "later", "queue", "typed", "#", {}],
    ["binding", "unique", "queue", "typed", "#", shown_table(TYPED)],
]
"""What is declared when all is done: vhost left out, then as the client said it."""


def declare(run: Run) -> None:
    """Everything of DEFINITIONS but what comes later; and some that is deleted again."""
    channel = run.channel
    for name, type_name, internal, arguments in (
        ("orders", "topic", False, {}),
        ("news", "fanout", False, {}),
        ("by-header", "headers", True, {"alternate-exchange": "news"}),
        ("gone", "direct", False, {}),
        ("later", "x-delayed-message", False, LATER),
    ):
        channel.exchange_declare(
            name, type_name, durable=True, internal=internal, arguments=arguments
        )
    channel.exchange_declare(
        "unique", "x-message-deduplication", durable=True, auto_delete=True, arguments=UNIQUE
    )
    for name, auto_delete, queue_arguments in (
        ("deep", False, {}),
        ("copy-a", False, {"x-max-length": 1000}),
        ("copy-b", False, {}),
        ("empty", True, {}),
        ("gone", False, {}),
        (RANKED, False, {"x-max-priority": HIGHEST_PRIORITY}),
        ("typed", False, TYPED),
        ("adopting", False, {"x-max-length": 5}),
        ("once", False, ONCE),
        ("poison", False, {"x-delivery-limit": 20}),
        (RETRIED, False, RETRYING),
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
    channel.queue_bind("typed", "later", "#")
    channel.queue_bind("typed", "unique", "#", TYPED)
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
    model.queues["deep"].update(dict.fromkeys(range(14)))
    run.channel.queue_delete("gone")
    run.channel.exchange_delete("gone")
    for text in (b"one for all", b"", b"\x00\xff binary \xfe"):
        model.publish(run, ["copy-a", "copy-b"], "news", "", text, delivery_mode=2)
    for number, priority in enumerate(PRIORITIES):
        body = f"priority {priority}, number {number}".encode()
        model.publish(run, [RANKED], "", RANKED, body, delivery_mode=2, priority=priority)
    for days in DELAYS_DAYS:
        model.publish_delayed(run, "later", RAW, f"after {days}".encode(), days * DAY_MS)
    for key in KEYS[:3]:
        model.publish(
            run,
            ["typed"],
            "unique",
            RAW,
            b"once",
            delivery_mode=2,
            headers={"x-deduplication-header": key},
        )
    for body in (b"rejected", b"returned"):
        model.publish(run, ["poison"], "", "poison", body, delivery_mode=2)
    run.give_back("poison", 1, rejected=True)


def second_life(run: Run, model: Model) -> None:
    """After a stop and a start: settled out of order, every property, one more queue."""
    model.settle(run, "deep", [2, 3, 9])
    model.settle(run, "copy-a", [1])
    model.settle(run, RANKED, [1, 4])
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
    for days in DELAYS_DAYS:
        model.publish_delayed(run, "later", "key", f"again {days}".encode(), days * DAY_MS + 1)
    run.give_back("poison", 1, rejected=True)
    # Each fills a log segment, so what waits in the delayed exchange goes to a segment, too.
    for number in range(3):
        body = f"large {number} ".encode() * (SHARED_BODY_BYTES // 8)
        model.publish(run, ["copy-a", "copy-b"], "news", "", body, delivery_mode=2)


def third_life(run: Run, model: Model) -> None:
    """A little more behind what two starts have found, among it each kind of definition; then the
    broker is killed."""
    channel = run.channel
    for number in range(DEEP_MESSAGES, DEEP_MESSAGES + 6):
        model.publish(run, ["deep"], "orders", f"order.{number}.new", b"late", delivery_mode=2)
    model.settle(run, "deep", [0])
    run.give_back("poison", 2, rejected=False)
    model.publish(run, [RETRIED], "", RETRIED, b"comes back in a day", delivery_mode=2)
    run.give_back(RETRIED, 1, rejected=True)
    channel.queue_declare("adopting", durable=True, arguments=ADOPTED)
    channel.exchange_declare("brief", "direct", durable=True)
    channel.queue_declare("brief", durable=True)
    channel.queue_bind("brief", "brief", "a")
    channel.queue_bind("brief", "brief", "b")
    channel.queue_unbind("brief", "brief", "a")
    channel.queue_delete("brief")
    channel.exchange_delete("brief")
    for key in KEYS[3:]:
        model.publish(
            run,
            ["typed"],
            "unique",
            "key",
            b"once more",
            delivery_mode=2,
            headers={"x-deduplication-header": key},
        )
    for key in KEYS[:2]:
        model.publish(
            run,
            ["once"],
            "",
            "once",
            b"only once",
            delivery_mode=2,
            headers={"x-deduplication-header": key},
        )
    model.publish(run, [RANKED], "", RANKED, b"urgent", delivery_mode=2, priority=5)
    model.publish(run, ["copy-b"], "", "copy-b", b"the last", delivery_mode=2)


LIVES: Final = (
    (first_life, signal.SIGTERM),
    (second_life, signal.SIGTERM),
    (third_life, signal.SIGKILL),
)
"""What happens in each life of the broker, and the signal that ends it."""


def make() -> None:
    """Make the directory and what is expected of it."""
    if build_kind() != "plain Python":
        raise SystemExit(
            "the limits of a compiled build cannot be changed: make it with a plain one"
        )
    model = lived()
    while not list((DATA / "blobs").glob(UNSORTED_SEGMENTS)):
        model = lived()
    text = json.dumps(model.expected(), indent=1, ensure_ascii=False)
    EXPECTED.write_text(f"{text}\n", "utf-8")


def lived() -> Model:
    """Make the directory; what is expected of it."""
    model = Model()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, "data")
        for life, end in LIVES:
            run = Run(directory, Path(scratch))
            run.wait_for("the wall clock was set")
            life(run, model)
            run.stop(end)
        shutil.rmtree(DATA, ignore_errors=True)
        left_out = shutil.ignore_patterns("lock", "head.new", "reserve")
        shutil.copytree(directory, DATA, ignore=left_out)
    return model


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        make()
