"""The account: what was sent, confirmed and settled, against what is there after a kill.

One ledger a queue. Between two audits it gathers what the clients did; an audit compares it with
everything the restarted broker has, and goes on from there.

Rules an audit holds the broker to:
- what was confirmed, and not acknowledged, is there; nothing else than what was sent is, once, with
  the body it was sent with;
- each publisher's messages are in the order they were published in;
- what was settled at the last audit, or acknowledged in an answered transaction, does not come
  back;
- other acknowledged messages may come back when they were acknowledged shortly before the kill;
- a transaction is there as a whole or not at all, answered or not.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

BLOCK = bytes((at * 7 + at // 251) % 256 for at in range(270_000))
"""What bodies are cut from."""

UNSETTLED_S = 2.0
"""Seconds of work before the kill within which an acknowledgement outside a transaction may be
lost."""

STANDSTILL_S = 0.05
"""Seconds without a confirm from which on the broker, or the process of the clients, may stand
still: what is longer counts for so much."""


class Id(NamedTuple):
    """A message: who published it, and which of its messages it is, from 0."""

    publisher: int
    number: int


def body_of(message: Id, size: int) -> bytes:
    """The body of a message: its name, and so many bytes that only it has in this place."""
    start = message.number % 251
    return b"%d.%d.%d." % (*message, size) + BLOCK[start : start + size]


def read_body(body: bytes) -> Id | None:
    """Whose body this is; None if it is nobody's."""
    parts = body.split(b".", 3)
    if len(parts) != 4 or not all(part.isdigit() for part in parts[:3]):
        return None
    message = Id(int(parts[0]), int(parts[1]))
    return message if body == body_of(message, int(parts[2])) else None


class Ledger:
    """One queue's part of the account. Clients in several threads write to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: dict[Id, None] = {}
        self.confirmed: set[Id] = set()
        self.acked: dict[Id, float] = {}
        """When it was acknowledged, in seconds of work."""
        self.settled: set[Id] = set()
        """Acknowledged in a transaction that was answered."""

    def audit(self, found: list[Id | None], killed_at: float) -> tuple[list[str], int, float]:
        """Compare with what is in the queue, where the broker wrote up to `killed_at`.

        :returns: what is wrong; how many acknowledged messages came back; and the longest time
            before the kill that one of them was acknowledged, in seconds.
        """
        wrong: list[str] = []
        there = {message for message in found if message is not None}
        if None in found:
            self._complain(wrong, "have a body nobody sent", found.count(None))
        if len(there) + found.count(None) != len(found):
            self._complain(wrong, "are there twice", _twice(found))
        self._complain(wrong, "were never sent, or settled before", there - self.sent.keys())
        self._complain(wrong, "came back after an answered tx.commit", there & self.settled)
        settled = self.acked.keys() | self.settled
        self._complain(wrong, "were confirmed and are lost", self.confirmed - settled - there)
        back = {message: killed_at - self.acked[message] for message in there & self.acked.keys()}
        late = {message for message, age in back.items() if age > UNSETTLED_S}
        self._complain(wrong, f"were acknowledged more than {UNSETTLED_S:g} s ago", late)
        last: dict[int, int] = {}
        for message in found:
            if message is not None:
                if message.number < last.get(message.publisher, -1):
                    wrong.append(f"{self.name}: {message} is behind a later one")
                    break
                last[message.publisher] = message.number
        return wrong, len(back), max(back.values(), default=0.0)

    def go_on(self, found: Iterable[Id | None]) -> None:
        """From now on, what was found is what there is."""
        there = [message for message in found if message is not None]
        self.sent = dict.fromkeys(there)
        self.confirmed = set(there)
        self.acked = {}
        self.settled = set()

    def _complain(self, wrong: list[str], what: str, messages: set[Id] | int) -> None:
        if isinstance(messages, int):
            wrong.append(f"{self.name}: {messages} {what}")
        elif messages:
            some = ", ".join(f"{one.publisher}.{one.number}" for one in sorted(messages)[:5])
            wrong.append(f"{self.name}: {len(messages)} {what}: {some}")


def _twice(found: list[Id | None]) -> set[Id]:
    seen: set[Id] = set()
    twice: set[Id] = set()
    for message in found:
        if message is not None:
            (twice if message in seen else seen).add(message)
    return twice


class Move(NamedTuple):
    """A transaction: messages acknowledged in one queue, and published to others."""

    source: str
    acknowledged: list[Id]
    put: list[tuple[str, Id]]


@dataclass
class Account:
    """The ledgers, and what else the clients did since the last audit."""

    ledgers: dict[str, Ledger] = field(default_factory=dict)
    unanswered: dict[int, Move] = field(default_factory=dict)
    """Transactions that were sent to be committed, by their client."""
    definitions: dict[str, bool | None] = field(default_factory=dict)
    """Whether something is defined; None while that is asked for and not answered."""
    wrong: list[str] = field(default_factory=list)
    """What clients saw and should not have."""
    published: int = 0
    confirmed: int = 0
    worked_s: float = 0.0
    """Seconds in which confirms came, so that the broker worked and was read: the time of
    acknowledgements and kills. Where a process stands still, it stands still."""
    acknowledged: int = 0
    moved: int = 0
    defined: int = 0
    _confirmed_at: float = 0.0
    """When something was last confirmed, by time.monotonic()."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ledger(self, queue: str) -> Ledger:
        """The ledger of a queue."""
        return self.ledgers.setdefault(queue, Ledger(queue))

    def sent(self, message: Id, queues: Iterable[str]) -> None:
        """A message is being published, and is to go to these queues."""
        for queue in queues:
            self.ledger(queue).sent[message] = None
        self.published += 1

    def confirm(self, message: Id, queues: Iterable[str]) -> None:
        """A message is confirmed."""
        for queue in queues:
            self.ledger(queue).confirmed.add(message)
        with self._lock:
            self.confirmed += 1
            now = time.monotonic()
            self.worked_s += min(now - self._confirmed_at, STANDSTILL_S)
            self._confirmed_at = now

    def ack(self, message: Id, queue: str) -> None:
        """A message is being acknowledged, outside a transaction."""
        self.ledger(queue).acked[message] = self.worked_s
        self.acknowledged += 1

    def commit(self, client: int, move: Move) -> None:
        """A transaction is about to be committed."""
        for queue, message in move.put:
            self.ledger(queue).sent[message] = None
        self.unanswered[client] = move

    def committed(self, client: int) -> None:
        """The commit was answered."""
        move = self.unanswered.pop(client)
        self.ledger(move.source).settled.update(move.acknowledged)
        for queue, message in move.put:
            self.ledger(queue).confirmed.add(message)
        self.moved += len(move.acknowledged)

    def audit_moves(self, found: dict[str, set[Id | None]]) -> list[str]:
        """What is wrong with the transactions whose commit was not answered.

        Those that happened count as answered from now on: audit the queues next.
        """
        wrong: list[str] = []
        for client, move in self.unanswered.items():
            remaining = sum(message in found[move.source] for message in move.acknowledged)
            came = sum(message in found[queue] for queue, message in move.put)
            everything = remaining == 0 and came == len(move.put)
            # If nothing of it happened, a message may be missing that was delivered before it was
            # confirmed; one that was confirmed counts as lost in the audit of its queue.
            if came != 0 and not everything:
                wrong.append(
                    f"transaction of {client} is there in part: "
                    f"{remaining} of {len(move.acknowledged)} acknowledged "
                    f"are still in {move.source}, {came} of {len(move.put)} were put"
                )
            elif everything:
                self.ledger(move.source).settled.update(move.acknowledged)
        self.unanswered.clear()
        return wrong
