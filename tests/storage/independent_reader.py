"""A reader of data directories that was written from FORMAT.md alone, with the standard library.

`python -m tests.storage.independent_reader DIRECTORY` prints what `leveret log dump` prints: every
definition and every message as JSON, one a line, in the form that docs/log.md describes. It shares
no code with the broker, so what both read the same is what FORMAT.md says.
"""

import base64
import json
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.storage.independent_definitions import Broker, VirtualHost, definition
from tests.storage.independent_values import (
    Broken,
    Cursor,
    Unknown,
    msgpack,
    properties,
)

MAGIC = b"LEVERET\n"
PRELUDE = struct.Struct(">8sHHI")
RECORD = struct.Struct(">IIB")
PAYLOAD_BYTES_MAX = 2**30
MARK, BATCH, START, RUN, STATE, BODY, SHARED_RUN = 1, 16, 17, 18, 19, 20, 21
PERSISTENT, EXPIRES, LEFT_OUT, ELSEWHERE = 1, 2, 4, 8
PRIORITY_SHIFT = 48


# --- files and records ------------------------------------------------------------------------


def body_of(data: bytes, name: str) -> tuple[int, bytes]:
    """Version and body of what begins with a prelude."""
    magic, version, size, crc = PRELUDE.unpack_from(data)
    body = data[PRELUDE.size : size]
    if magic != MAGIC or crc32(body, crc32(data[:12])) != crc:
        raise Broken(f"{name}: no prelude, or a wrong CRC")
    if version not in (1, 2, 3):
        raise Unknown(f"{name}: version {version}")
    return version, body


class Blob:
    """A blob, and its records but for the marks."""

    def __init__(self, path: Path, kind: int) -> None:
        self.name = path.name
        self.data = path.read_bytes()
        self.version, body = body_of(self.data, self.name)
        if body[0] not in (2, 3, 4, 6):
            raise Unknown(f"{self.name}: blob of kind {body[0]}")
        if body[0] != kind:
            raise Broken(f"{self.name}: blob of kind {body[0]}")
        self.salt = body[1:9]
        self.start = PRELUDE.size + len(body)

    def record_at(self, offset: int) -> tuple[int, bytes] | None:
        """Kind and payload of the valid record at an offset, if there is one."""
        if offset + RECORD.size > len(self.data):
            return None
        length, crc, kind = RECORD.unpack_from(self.data, offset)
        begin = offset + RECORD.size
        if length > PAYLOAD_BYTES_MAX or begin + length > len(self.data) or kind == 0:
            return None
        payload = self.data[begin : begin + length]
        if crc32(payload, crc32(bytes([kind]), crc32(self.salt))) != crc:
            return None
        if kind == MARK and (length != 16 or int.from_bytes(payload[8:], "big") > offset):
            return None
        return kind, payload

    def was_durable(self, offset: int) -> bool:
        """Whether a mark anywhere says that this offset was durable."""
        at = self.data.find(bytes([MARK]) + self.salt)
        while at >= 0:
            found = self.record_at(at - 8)
            if found is not None and int.from_bytes(found[1][8:], "big") > offset:
                return True
            at = self.data.find(bytes([MARK]) + self.salt, at + 1)
        return False

    def records(self, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Kind and payload of each record but marks, up to an offset that was durable."""
        offset = self.start
        while offset < (len(self.data) if end is None else end):
            found = self.record_at(offset)
            if found is None:
                if end is not None or self.was_durable(offset):
                    raise Broken(f"{self.name}: offset {offset}")
                return
            if found[0] != MARK:
                yield found
            offset += RECORD.size + len(found[1])

    def bodies(self) -> Iterator[tuple[int, bytes]]:
        """The bodies of a body segment, with the offsets of their records."""
        offset = self.start
        while offset < len(self.data):
            found = self.record_at(offset)
            if found is None:
                return
            if found[0] == BODY:
                yield offset, found[1]
            elif found[0] != MARK:
                raise Unknown(f"{self.name}: record of kind {found[0]}")
            offset += RECORD.size + len(found[1])


# --- what is stored ---------------------------------------------------------------------------


class Message:
    """A stored message; `flags` alone for one that is left out."""

    def __init__(self, cursor: Cursor, bodies: dict[int, dict[int, bytes]] | None = None) -> None:
        """`bodies` are those of each body segment, by offset; None where none may be named."""
        self.flags = cursor.number(1)
        known = PERSISTENT | EXPIRES | LEFT_OUT
        if self.flags & ~(known if bodies is None else known | ELSEWHERE):
            raise Unknown(f"flags {self.flags:#x}")
        if self.flags == LEFT_OUT:
            return
        self.arrived = cursor.number(8)
        self.expires = cursor.number(8) if self.flags & EXPIRES else 0
        route, header, body = cursor.number(2), cursor.number(4), cursor.number(4)
        self.route = cursor.take(route)
        self.header = cursor.take(header)
        if bodies is None or self.flags & ELSEWHERE == 0:
            self.body = cursor.take(body)
            return
        # Where its body segment is not there, the message was settled.
        self.body = bodies.get(cursor.number(8), {}).get(cursor.number(8), bytes(body))
        if len(self.body) != body:
            raise Broken("a body of another size than the message says")


class Journal:
    """The messages of a journal, and its settled positions."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self.settled: list[tuple[int, int]] = []
        self.delivered = 0
        self.delivered_in = 0
        self.last_segment = 0

    def left(self) -> list[tuple[int, Message]]:
        return [
            (position, message)
            for position, message in sorted(self.messages.items())
            if not any(first <= position < end for first, end in self.settled)
        ]


class Store:
    """What the log and the queue segments of a directory say."""

    def __init__(self, directory: Path) -> None:
        self.definitions: list[dict[str, Any]] = []
        self.numbered: dict[int, dict[str, Any]] = {}
        self.count = 0
        self.checkpoint: tuple[list[tuple[int, int]], int, int] = ([], 0, 0)
        self.segment = 0
        self.deleted: set[int] = set()
        self.transaction: list[Callable[[], None]] = []
        self.in_part = False
        self.journals: dict[int, Journal] = {}
        _, head = body_of((directory / "head").read_bytes(), "head")
        if head[0] != 1:
            raise Unknown(f"head of kind {head[0]}")
        owner = msgpack(Cursor(head[9:]))
        if not {"node"} <= set(owner) <= {"node", "log_segment", "log_bytes"}:
            raise Unknown(f"fields of the head: {sorted(owner)}")
        self.node = owner["node"]
        blobs = sorted((directory / "blobs").iterdir())
        self.bodies: dict[int, dict[int, bytes]] = {}
        for path in blobs:
            if path.name.startswith("bodies-"):
                self.bodies[int(path.name.split("-")[1])] = dict(Blob(path, 6).bodies())
        for path in blobs:
            if path.name.startswith("log-"):
                self.segment = int(path.name[4:])
                self.read_log(Blob(path, 2))
        self.add_checkpoint(directory / "blobs")
        for path in blobs:
            if path.name.startswith("queue-"):
                journal = self.journals.get(int(path.name.split("-")[1]))
                for kind, payload in Blob(path, 3).records():
                    if kind not in (RUN, SHARED_RUN):
                        raise Unknown(f"{path.name}: record of kind {kind}")
                    self.read_run(Cursor(payload), journal, kind == SHARED_RUN)

    def journal(self, number: int) -> Journal:
        found = self.journals.setdefault(number, Journal())
        found.last_segment = self.segment
        return found

    def add_checkpoint(self, blobs: Path) -> None:
        parts, in_it, segment = self.checkpoint
        later = [given for number, given in self.numbered.items() if number > in_it]
        if not parts:
            self.definitions += self.numbered.values()
            return
        state = State()
        for number, size in parts:
            blob = Blob(blobs / f"checkpoint-{number:012}", 4)
            for kind, payload in blob.records(size):
                if kind != STATE:
                    raise Unknown(f"{blob.name}: record of kind {kind}")
                cursor = Cursor(payload)
                while not cursor.done:
                    state.read_entry(cursor, blob.version)
        self.definitions = state.definitions + later
        for number, journal in list(self.journals.items()):
            if journal.last_segment <= segment and number not in state.journals:
                del self.journals[number]
        for number, journal in state.journals.items():
            if number not in self.deleted:
                known = self.journal(number)
                known.settled += journal.settled
                if known.delivered_in <= segment:
                    known.delivered = journal.delivered

    def read_log(self, blob: Blob) -> None:
        self.transaction = []
        for kind, payload in blob.records():
            cursor = Cursor(payload)
            if kind == START and blob.version < 3:
                self.read_everything(cursor, blob.version)
            elif kind == START:
                cursor.number(4)
                self.checkpoint = checkpoint_of(cursor)
                self.count = cursor.number(8)
            elif kind != BATCH:
                raise Unknown(f"{blob.name}: record of kind {kind}")
            while not cursor.done:
                self.read_entry(cursor, blob.version)

    def read_everything(self, cursor: Cursor, version: int) -> None:
        cursor.number(4)
        count = cursor.number(4)
        self.definitions = [
            definition(cursor.take(cursor.number(4)), version) for _ in range(count)
        ]
        named = set()
        for _ in range(cursor.number(4)):
            number = cursor.number(4)
            named.add(number)
            for _ in range(cursor.number(4)):
                self.journal(number).settled.append((cursor.number(8), cursor.number(8)))
            self.journal(number)
        self.journals = {each: self.journals[each] for each in self.journals if each in named}

    def read_entry(self, cursor: Cursor, version: int) -> None:
        kind = cursor.number(1)
        if kind == 1:
            places = [(cursor.number(4), cursor.number(8)) for _ in range(cursor.number(2))]
            self.now_or_when_committed(partial(self.add_message, places, Message(cursor)))
        elif kind == 2:
            number, first, end = cursor.number(4), cursor.number(8), cursor.number(8)
            self.now_or_when_committed(partial(self.settle, number, first, end))
        elif kind == 3:
            given = definition(cursor.take(cursor.number(4)), version)
            self.now_or_when_committed(partial(self.define, given, version))
        elif kind == 8 and version >= 3:
            self.read_transaction(cursor.number(1))
        elif kind == 4:
            number = cursor.number(4)
            self.deleted.add(number)
            self.journals.pop(number, None)
        elif kind == 5:
            self.journal(cursor.number(4))
        elif kind == 6 and version >= 3:
            self.checkpoint = checkpoint_of(cursor)
        elif kind == 7:
            journal = self.journal(cursor.number(4))
            journal.delivered, journal.delivered_in = cursor.number(8), self.segment
        else:
            raise Unknown(f"entry of kind {kind}")

    def read_transaction(self, step: int) -> None:
        if step == 3:
            for effect in self.transaction:
                effect()
            self.transaction = []
        elif step not in (1, 2):
            raise Unknown(f"{step} of a transaction")
        self.in_part = step == 1

    def now_or_when_committed(self, effect: Callable[[], None]) -> None:
        if self.in_part:
            self.transaction.append(effect)
        else:
            effect()

    def add_message(self, places: list[tuple[int, int]], message: Message) -> None:
        for number, position in places:
            if number not in self.deleted:
                self.journal(number).messages[position] = message

    def settle(self, number: int, first: int, end: int) -> None:
        if number not in self.deleted:
            self.journal(number).settled.append((first, end))

    def define(self, given: dict[str, Any], version: int) -> None:
        if version < 3:
            self.definitions.append(given)
        else:
            self.count += 1
            self.numbered[self.count] = given

    def read_run(self, cursor: Cursor, journal: Journal | None, shared: bool) -> None:
        first, count, persistent = cursor.number(8), cursor.number(4), cursor.number(4)
        body_bytes = cursor.number(8)
        if crc32(cursor.data[:24]) != cursor.number(4):
            raise Broken("a wrong CRC at the beginning of a run")
        if shared:
            segments = cursor.take(4)
            segments += cursor.take(24 * int.from_bytes(segments, "big"))
            if crc32(segments) != cursor.number(4):
                raise Broken("a wrong CRC of the body segments of a run")
        for position in range(first, first + count):
            message = Message(cursor, self.bodies if shared else None)
            if message.flags & PERSISTENT:
                persistent -= 1
                body_bytes -= len(message.body)
                if journal is not None:
                    journal.messages.setdefault(position, message)
        if persistent or body_bytes or not cursor.done:
            raise Broken("a run that does not have what it says")


class State:
    """What checkpoint segments say."""

    def __init__(self) -> None:
        self.definitions: list[dict[str, Any]] = []
        self.journals: dict[int, Journal] = {}

    def read_entry(self, cursor: Cursor, version: int) -> None:
        kind = cursor.number(1)
        if kind == 3:
            self.definitions.append(definition(cursor.take(cursor.number(4)), version))
            return
        number = cursor.number(4)
        if kind == 5:
            self.journals.setdefault(number, Journal())
        elif kind == 4:
            self.journals.pop(number, None)
        elif kind == 2:
            settled = (cursor.number(8), cursor.number(8))
            self.journals.get(number, Journal()).settled.append(settled)
        elif kind == 7:
            self.journals.get(number, Journal()).delivered = cursor.number(8)
        else:
            raise Unknown(f"entry of kind {kind} in a checkpoint segment")


def checkpoint_of(cursor: Cursor) -> tuple[list[tuple[int, int]], int, int]:
    """The parts, the definitions in them, and the last log segment they replace."""
    parts = [(cursor.number(8), cursor.number(8)) for _ in range(cursor.number(4))]
    return parts, cursor.number(8), cursor.number(8)


# --- as `leveret log dump` prints it ------------------------------------------------------------


def dump(directory: Path) -> Iterator[dict[str, Any]]:
    """Every definition, then every message."""
    store = Store(directory)
    broker = Broker()
    for given in store.definitions:
        broker.apply(given)
    vhosts = broker.vhosts
    for given in broker.entities.values():
        yield {name: shown(value) for name, value in given.items() if name != "password_hash"}
    for name, vhost in vhosts.items():
        yield from shown_definitions(name, vhost)
    for name, vhost in vhosts.items():
        for queue in vhost.queues.values():
            highest = queue["arguments"].get("x-max-priority", 0)
            for priority in range(highest, -1, -1):
                journal = store.journals.get(queue["number"] + priority, Journal())
                first = highest - priority << PRIORITY_SHIFT
                for position, message in journal.left():
                    if not first <= position < first + (1 << PRIORITY_SHIFT):
                        raise Broken(f"position {position} in priority {priority}")
                    yield shown_message(name, queue["name"], position, message)
        for delayed in vhost.delayed.values():
            for number in (delayed["sorted_runs_number"], delayed["number"]):
                for position, message in store.journals.get(number, Journal()).left():
                    yield shown_message(name, delayed["exchange"], position, message)


def shown_definitions(name: str, vhost: VirtualHost) -> Iterator[dict[str, Any]]:
    for each in vhost.exchanges.values():
        yield {
            "kind": "exchange",
            "vhost": name,
            "name": shown(each["name"]),
            "type": each["type"],
            "auto_delete": each["auto_delete"],
            "internal": each["internal"],
            "arguments": shown(each["arguments"]),
        }
    for each in vhost.queues.values():
        yield {
            "kind": "queue",
            "vhost": name,
            "name": shown(each["name"]),
            "auto_delete": each["auto_delete"],
            "arguments": shown(each["arguments"]),
        }
    for each in vhost.bindings:
        yield {
            "kind": "binding",
            "vhost": name,
            "source": shown(each["source"]),
            "destination_type": "exchange" if each["destination_is_exchange"] else "queue",
            "destination": shown(each["destination"]),
            "routing_key": shown(each["routing_key"]),
            "arguments": shown(each["arguments"]),
        }


def shown_message(vhost: str, queue: str, position: int, message: Message) -> dict[str, Any]:
    route = Cursor(message.route)
    found = {
        "kind": "message",
        "vhost": vhost,
        "queue": shown(queue),
        "position": position,
        "exchange": route.short_string().decode("utf-8", "backslashreplace"),
        "routing_key": route.short_string().decode("utf-8", "backslashreplace"),
        "properties": shown(properties(message.header)),
        "persistent": message.flags & PERSISTENT != 0,
        "size": len(message.body),
    }
    for name, time in (("arrived", message.arrived), ("expires_at", message.expires)):
        if time:
            at = datetime.fromtimestamp(time // 1000, UTC)
            found[name] = f"{at:%Y-%m-%dT%H:%M:%S}.{time % 1000:03}+00:00"
    try:
        found["body"] = message.body.decode()
    except UnicodeDecodeError:
        found["body_base64"] = base64.b64encode(message.body).decode()
    return found


def shown(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, dict):
        return {shown(name): shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value


if __name__ == "__main__":
    for line in dump(Path(sys.argv[1])):
        sys.stdout.write(f"{json.dumps(line, ensure_ascii=False)}\n")
