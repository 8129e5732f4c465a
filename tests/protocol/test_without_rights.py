"""A user without rights tries every method against every kind of object: the answer of each cell,
and nothing on the broker is as it was not before."""

from collections.abc import Callable
from typing import Final

import pytest
from pamqp import commands
from pamqp.base import Frame
from pamqp.commands import Basic, Exchange, Queue

from leveret.engine.metadata.entities import Permission
from leveret.engine.routing.exchanges import EXCHANGE_TYPES
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Client, Harness
from tests.protocol.test_permissions import state

DONE: Final = "done"
"""The method needs no right."""

QUEUES: Final[dict[str, dict[str, object]]] = {
    "plain": {},
    "durable": {"durable": True},
    "auto-delete": {"auto_delete": True},
    "quorum": {"durable": True, "arguments": {"x-queue-type": "quorum"}},
    "priorities": {"arguments": {"x-max-priority": 3}},
    "single-active": {"arguments": {"x-single-active-consumer": True}},
    "full": {"arguments": {"x-max-length": 1, "x-overflow": "reject-publish"}},
    "others-exclusive": {"exclusive": True},
    "missing": {},
}
"""Queues by name, and how they are declared."""

EXCHANGES: Final = (
    *EXCHANGE_TYPES,
    "x-delayed-message",
    "internal",
    "amq.direct",
    "amq.rabbitmq.trace",
    "missing",
    "",
)
"""Exchanges by name: those of every type are named as the type."""


def lacks(right: str, what: str) -> str:
    return f"{right} access to {what} in vhost '/' refused for user 'guest'"


QUEUE_METHODS: Final[dict[str, tuple[Callable[[str], Frame], str]]] = {
    "declare": (lambda name: queue_declare(name), "configure"),
    "look for": (lambda name: queue_declare(name, passive=True), DONE),
    "bind": (lambda name: Queue.Bind(queue=name, exchange="direct"), "write"),
    "unbind": (lambda name: Queue.Unbind(queue=name, exchange="direct"), "write"),
    "purge": (lambda name: Queue.Purge(queue=name), "read"),
    "delete": (lambda name: Queue.Delete(queue=name), "configure"),
    "consume": (lambda name: Basic.Consume(queue=name, consumer_tag="c"), "read"),
    "get": (lambda name: Basic.Get(queue=name), "read"),
}
"""Methods, and the right that is asked for first."""

EXCHANGE_METHODS: Final[dict[str, tuple[Callable[[str], Frame], str]]] = {
    "declare": (lambda name: exchange_declare(name), "configure"),
    "look for": (lambda name: exchange_declare(name, passive=True), DONE),
    "delete": (lambda name: Exchange.Delete(exchange=name), "configure"),
    "bind to": (lambda name: Exchange.Bind(destination="direct", source=name), "write direct"),
    "bind": (lambda name: Exchange.Bind(destination=name, source="direct"), "write"),
    "unbind from": (
        lambda name: Exchange.Unbind(destination="direct", source=name),
        "write direct",
    ),
    "unbind": (lambda name: Exchange.Unbind(destination=name, source="direct"), "write"),
    "publish": (lambda name: Basic.Publish(exchange=name, routing_key="plain"), "write"),
}
"""Methods, and the right that is asked for first, of the exchange unless another is named."""

OF_THE_DEFAULT: Final = "operation not permitted on the default exchange"
LOCKED: Final = (
    "cannot obtain exclusive access to locked queue 'others-exclusive' in vhost '/'. It could be "
    "originally declared on another connection or the exclusive property value does not match that "
    "of the original declaration."
)

OTHERWISE: Final[dict[tuple[str, str], tuple[ReplyCode, str]]] = {
    ("queue look for", "missing"): (ReplyCode.NOT_FOUND, "no queue 'missing' in vhost '/'"),
    ("queue look for", "others-exclusive"): (ReplyCode.RESOURCE_LOCKED, LOCKED),
    ("exchange look for", "missing"): (ReplyCode.NOT_FOUND, "no exchange 'missing' in vhost '/'"),
    **{
        (f"exchange {verb}", ""): (ReplyCode.ACCESS_REFUSED, OF_THE_DEFAULT)
        for verb in ("declare", "look for", "delete")
    },
    **{
        ("exchange delete", name): (
            ReplyCode.ACCESS_REFUSED,
            f"deletion of system exchange '{name}' in vhost '/' not allowed",
        )
        for name in ("amq.direct", "amq.rabbitmq.trace")
    },
}
"""Cells whose answer is another than that the right is missing."""


def queue_declare(name: str, *, passive: bool = False) -> Frame:
    how = {} if passive or name == "others-exclusive" else QUEUES[name]
    return wire.unvalidated(Queue.Declare, queue=name, passive=passive, **how)


def exchange_declare(name: str, *, passive: bool = False) -> Frame:
    kind = name if name in EXCHANGES[: len(EXCHANGE_TYPES) + 1] else "direct"
    arguments = {"x-delayed-type": "direct"} if kind == "x-delayed-message" else {}
    return wire.unvalidated(
        Exchange.Declare,
        exchange=name,
        exchange_type=kind,
        internal=name == "internal",
        passive=passive,
        arguments=arguments,
    )


@pytest.fixture
def client(harness: Harness) -> Client:
    """A client without rights, where there is an object of each kind that holds something."""
    owner = harness.open_client(1)
    for name in EXCHANGES:
        if name not in ("missing", "") and not name.startswith("amq."):
            owner.call(1, exchange_declare(name), Exchange.DeclareOk)
    for name, how in QUEUES.items():
        if name != "missing":
            owner.declare(1, name, **how)
            owner.call(1, Queue.Bind(queue=name, exchange="direct"), Queue.BindOk)
            owner.publish(1, name, b"1")
    owner.call(
        1, Exchange.Bind(destination="fanout", source="direct", routing_key="k"), Exchange.BindOk
    )
    client = harness.open_client(1)
    harness.broker.metadata.put(Permission("guest", "/", "", "", ""))
    return client


def expected(cell: str, name: str, right: str, kind: str) -> tuple[ReplyCode, str] | None:
    """The code and the text of the answer; None if the method is carried out."""
    if (cell, name) in OTHERWISE:
        return OTHERWISE[cell, name]
    if right == DONE:
        return None
    right, _, other = right.partition(" ")
    return ReplyCode.ACCESS_REFUSED, lacks(right, f"{kind} '{other or name or 'amq.default'}'")


CELLS: Final = [
    (f"{kind} {verb}", name, make(name), expected(f"{kind} {verb}", name, right, kind))
    for kind, methods, names in (
        ("queue", QUEUE_METHODS, tuple(QUEUES)),
        ("exchange", EXCHANGE_METHODS, EXCHANGES),
    )
    for verb, (make, right) in methods.items()
    for name in names
]


@pytest.mark.parametrize(
    ("cell", "name", "method", "answer"), CELLS, ids=[f"{cell} {name}" for cell, name, *_ in CELLS]
)
def test_a_user_without_rights_changes_nothing(
    harness: Harness,
    client: Client,
    cell: str,
    name: str,
    method: Frame,
    answer: tuple[ReplyCode, str] | None,
) -> None:
    before = state(harness)
    if isinstance(method, Basic.Publish):
        client.publish(1, method.routing_key, b"2", exchange=method.exchange)
    else:
        client.send(1, method)
    if answer is None:
        reply = Queue.DeclareOk if cell.startswith("queue") else Exchange.DeclareOk
        client.expect_method(1, reply)
    else:
        client.expect_error(1, *answer, type(method))
        client.send(1, commands.Channel.CloseOk())
    assert state(harness) == before
